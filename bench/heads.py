"""Five classify heads answered in one look against one head: whole predictions of the same pictures, in turn.

python bench/heads.py
"""

import json
import tempfile
from pathlib import Path
from statistics import median

from onelook import Geometry, Model, read
from onelook.workflows.bench import in_turn
from pictures import write_photos


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder) / "photos", 320)
        data = read(Path(folder) / "photos")
        model = Model.new(geometry=Geometry(224), cache=Path(folder))
        names = [f"head{number}" for number in range(5)]
        for number, name in enumerate(names):
            model.fit(name, data, freeze="all", seed=number)
        pictures = [sample.path for sample in data.samples[:96]]
        five, one = in_turn(lambda: list(model.predict(pictures)), lambda: list(model.predict(pictures, heads=names[:1])), 5)
    ratios = [a / b for a, b in zip(five, one, strict=True)]
    print(f"five heads {median(five) / 96:.2f} ms, one head {median(one) / 96:.2f} ms a picture")
    print(json.dumps({"what": "five heads against one", "ratio": median(ratios), "ratios": ratios}))


if __name__ == "__main__":
    main()
