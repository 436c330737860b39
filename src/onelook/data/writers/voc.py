"""Pascal VOC: an XML a picture and lists of splits.

onelook data convert dataset/ --to voc --out voc/
"""

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from onelook.data.pictures import picture_size
from onelook.data.samples import Dataset, place_picture
from onelook.geometry.objects import Objects


def write_voc(data: Dataset, folder: Path) -> None:
    """Write ``Annotations``, ``JPEGImages`` and ``ImageSets/Main`` in the devkit's way (pixels from 1, the last included, to a tenth)."""
    main = folder / "ImageSets" / "Main"
    for path in (folder / "Annotations", main):
        path.mkdir(parents=True, exist_ok=True)
    listed: dict[str, list[str]] = {}
    for sample in data.samples:
        assert isinstance(sample.target, Objects)
        placed = place_picture(sample.path, folder / "JPEGImages")
        width, height = picture_size(placed)
        entries = "".join(map(_entry, *_columns(sample.target, data.classes)))
        (folder / "Annotations" / f"{placed.stem}.xml").write_text(
            f"<annotation>\n\t<filename>{escape(placed.name)}</filename>\n\t<size><width>{width}</width><height>{height}</height>"
            f"<depth>3</depth></size>\n{entries}</annotation>\n",
            "utf-8",
            "surrogateescape",
        )
        listed.setdefault(sample.side or "trainval", []).append(placed.stem)
    for side, stems in listed.items():
        (main / f"{side}.txt").write_text("\n".join(stems) + "\n", "utf-8", "surrogateescape")


def _columns(objects: Objects, classes: Sequence[str]) -> tuple[list[str], list[list[float]], list[bool]]:
    return [classes[label] for label in objects.labels.tolist()], objects.boxes.tolist(), objects.ignored.tolist()


def _entry(name: str, box: list[float], ignored: bool) -> str:
    corners = zip(("xmin", "ymin", "xmax", "ymax"), (box[0] + 1, box[1] + 1, box[2], box[3]), strict=True)
    inner = "".join(f"<{tag}>{value:.5g}</{tag}>" for tag, value in corners)
    return f"\t<object><name>{escape(name)}</name><difficult>{int(ignored)}</difficult><bndbox>{inner}</bndbox></object>\n"
