"""Pages of what is inside a network.

onelook anatomy resnet50 --report page/
"""

from pathlib import Path

from onelook.inside.anatomy import Anatomy
from onelook.metrics.judge import Table
from onelook.report.page import Section, write_page

HEADER = ("layer", "type", "output", "numbers", "parameters", "MACs", "field", "stride")


def write_anatomy(folder: Path, found: Anatomy) -> Path:
    """Write ``folder``/index.html and return its path. Raises DiskError."""
    most = max((layer.macs for layer in found.layers), default=0) or 1
    shades = tuple((0.0,) * 5 + (0.5 * layer.macs / most,) + (0.0,) * 2 for layer in found.layers)
    rows = tuple(tuple(row) for row in found.rows(every=True))
    kinds = tuple(tuple(row) for row in found.kind_rows())
    lead = f"{found.parameters:,} parameters, {found.macs:,} multiply-accumulates for an input of {' x '.join(map(str, found.input))}."
    note = "A multiply-accumulate (MAC) is two FLOPs; of convolutions and matrix products. Field: pixels of the input that a place sees."
    sections = [
        Section("By kind", table=Table("", ("kind", "layers", "parameters", "MACs"), kinds)),
        Section("Layer by layer", table=Table("", HEADER, rows, shades=shades), note=note),
    ]
    return write_page(folder, f"Anatomy of {found.name}", lead, sections)
