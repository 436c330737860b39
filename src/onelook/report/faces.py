"""The page of ``onelook faces eval``: figures, curves, groups, and the pictures in which nobody was found.

onelook faces eval people/ --report page/
"""

from pathlib import Path

from onelook.faces.evaluate import Seen, curves
from onelook.facts import Facts
from onelook.metrics.judge import Table
from onelook.report.figures import curve_plot
from onelook.report.page import Section, thumbnail, write_page

MOST_MISSED = 24


def write_protocol(folder: Path, facts: Facts, seen: Seen, source: Path) -> Path:
    """Write ``folder``/index.html and return its path. Raises DiskError."""
    low, high = facts["eer_interval"]
    rows = (
        ("equal error rate", f"{facts['eer']:.2%}", f"{low:.2%} to {high:.2%}"),
        ("rank-1, one picture enrolled", f"{facts['rank1']:.2%}", ""),
        *((f"same pairs accepted at {float(rate):.1%} false accepts", f"{share:.1%}", "") for rate, share in facts["val_at_far"].items()),
    )
    if "accuracy" in facts:
        rows = (*rows, ("accuracy on the listed pairs", f"{facts['accuracy']:.2%}", f"deviation {facts['accuracy_std']:.2%}"))
    note = "Pictures in which nobody was found are rejected beside everybody and never identified: they count as errors."
    sections = [Section("How right it is", table=Table("", ("figure", "value", "95 % interval"), rows), note=note)]
    sections += [Section(one.title, svg=curve_plot(one)) for one in curves(seen)]
    if facts.get("groups"):
        header = ("group", "people", "false rejects", "false accepts", "equal error rate")
        groups = tuple(
            (g["group"], str(g["people"]), f"{g['false_rejects']:.2%}", f"{g['false_accepts']:.2%}", f"{g['eer']:.2%}")
            for g in facts["groups"]
        )
        sections.append(
            Section("Group by group", table=Table("", header, groups), note="One threshold for all: that of the equal error rate.")
        )
    missed = [path for path, is_missed in zip(seen.paths, seen.missed.tolist(), strict=True) if is_missed][:MOST_MISSED]
    if missed:
        sections.append(Section("Nobody found", pictures=tuple(thumbnail(path, path.parent.name) for path in missed)))
    lead = f"{facts['n']} pictures of {facts['people']} people, {facts['missed']} in which nobody was found; encoder {facts['encoder']}."
    return write_page(folder, f"Who is who: {source}", lead, sections)
