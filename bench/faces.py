"""Two promises about faces: the rate of false accepts lies in the interval that was printed, and a photo's people are named quickly.

The rate: in each draw half of the people are in the gallery that the threshold is fitted on, the comparisons of the others are counted.
The time: photos enlarged to 1,000 pixels, from the open picture to names: find, turn upright, encode, search.

    python bench/faces.py --people people/ --photos photos/
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from onelook.data.pictures import find_pictures, open_picture
from onelook.faces.evaluate import Seen
from onelook.faces.gallery import Entry, Gallery
from onelook.faces.subjects import PUBLISHED, FaceSubjects
from onelook.faces.threshold import fit_threshold
from onelook.metrics.verification import pairs_of
from onelook.workflows.faces import Identifier, look_at_people, threshold_of

SIDE, REPEATS = 1000, 5  # pixels of a photo's longer side, times that each is asked


def kept_promises(seen: Seen, draws: int, rate: float) -> dict[str, float]:
    """In how many draws the others' rate lies in the interval, how wide it is, and the rates."""
    ids, distances = seen.identities, seen.distances()
    inside, rates, widths = [], [], []
    for number in range(draws):
        mine = np.isin(ids, np.random.default_rng(number).permutation(ids.max() + 1)[: (ids.max() + 1) // 2])
        fitted = fit_threshold([f"p{one}" for one in ids[mine]], seen.vectors[mine], rate, PUBLISHED, None)
        assert fitted.interval is not None, fitted.why
        others = pairs_of(distances[np.ix_(~mine, ~mine)], ids[~mine]).different
        rates.append(float((others <= fitted.distance).mean()))
        inside.append(fitted.interval[0] <= rates[-1] <= fitted.interval[1])
        widths.append(fitted.interval)
    low, high = np.mean(widths, axis=0)
    found = {"asked": rate, "inside": float(np.mean(inside)), "rate_of_others": statistics.mean(rates)}
    return found | {"mean_low": float(low), "mean_high": float(high)}


def times(photos: list[Path], seen: Seen) -> dict[int, list[float]]:
    """Milliseconds from picture to names, by the number of faces."""
    found: dict[int, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        who = FaceSubjects()
        gallery = Gallery.create(Path(folder) / "g", who.encoder)
        gallery.enrol(Entry(name, vector, str(n)) for n, (name, vector) in enumerate(zip(seen.names, seen.vectors, strict=True)))
        ask = Identifier(gallery, who, threshold_of(gallery, who))
        for path in photos:
            picture = open_picture(path)
            grow = SIDE / max(picture.size)
            picture = picture.resize((round(picture.width * grow), round(picture.height * grow)))
            ask.people(picture)
            for _ in range(REPEATS):
                begun = time.perf_counter()
                people = ask.people(picture)
                found.setdefault(len(people.faces), []).append(1000 * (time.perf_counter() - begun))
        gallery.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", required=True, help="a folder with a folder of pictures for everybody")
    parser.add_argument("--photos", required=True, help="photos with several people")
    parser.add_argument("--draws", type=int, default=50)
    asked = parser.parse_args()
    seen = look_at_people(Path(asked.people))
    promises = [kept_promises(seen, asked.draws, rate) for rate in (0.01, 0.001)]
    for row in promises:
        print(", ".join(f"{name} {value:.4f}" for name, value in row.items()), flush=True)
    by_faces = times(list(find_pictures([asked.photos])), seen)
    rows = {count: {"median_ms": statistics.median(ms), "p95_ms": float(np.quantile(ms, 0.95))} for count, ms in sorted(by_faces.items())}
    for count, row in rows.items():
        print(f"{count} faces: " + ", ".join(f"{name} {value:.0f}" for name, value in row.items()))
    print(json.dumps({"bench": "faces", "draws": asked.draws, "thresholds": promises, "photo_to_names": rows}))


if __name__ == "__main__":
    main()
