"""CVAT for images: ``annotations.xml`` and the pictures.

onelook data convert dataset/ --to cvat --out cvat/
"""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from onelook.data.pictures import picture_size
from onelook.data.samples import Dataset, place_picture
from onelook.geometry.objects import Objects


def write_cvat(data: Dataset, folder: Path) -> None:
    """Write ``images`` and one ``annotations.xml`` whose subsets are the sides; ignored objects are left out."""
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    for number, sample in enumerate(data.samples):
        assert isinstance(sample.target, Objects)
        placed = place_picture(sample.path, folder / "images" / (sample.side or ""))
        width, height = picture_size(placed)
        facts = {"id": str(number), "name": placed.relative_to(folder / "images").as_posix(), "width": str(width), "height": str(height)}
        image = ElementTree.SubElement(root, "image", facts | ({"subset": sample.side} if sample.side else {}))
        objects = sample.target.pick(~sample.target.ignored)
        for label, box in zip(objects.labels.tolist(), objects.boxes.tolist(), strict=True):
            corners = {name: f"{value:.2f}" for name, value in zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True)}
            ElementTree.SubElement(image, "box", {"label": data.classes[label], "occluded": "0", **corners})
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode", xml_declaration=False)
    (folder / "annotations.xml").write_text(f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n', "utf-8", "surrogateescape")
