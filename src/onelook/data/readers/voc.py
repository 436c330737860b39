"""Pascal VOC: one XML file a picture, as the devkit lays them out or loose beside their pictures.

Everingham et al. 2010, "The Pascal Visual Object Classes challenge". The devkit counts pixels from 1 and includes the last; where a
devkit's boxes never touch 0 they are read so, else (and always for loose files) as they stand. ``difficult`` objects are ignored.

    onelook data check VOCdevkit/VOC2007 --task detect
"""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from onelook.data.readers.annotations import Annotated, Annotations, Written, assemble, locate
from onelook.data.readers.request import Reader, Request
from onelook.data.samples import Dataset, Finding
from onelook.errors import DataError

FOLDERS = ("Annotations", "annotations")
SIDES = {"train": "train", "val": "val"}


def is_voc(root: Path) -> bool:
    """Whether a folder holds VOC annotations: in ``Annotations``, or XML files beside pictures."""
    return any(True for folder in _folders(root) for _ in folder.glob("*.xml"))


def read_voc(root: Path, split: str | None) -> Annotations:
    """Every picture that an XML file describes. ``split``: a list in ``ImageSets/Main``, such as ``trainval``; without it,
    ``train`` and ``val`` where both are there, else all.
    """
    files = {file.stem: file for folder in _folders(root) for file in sorted(folder.glob("*.xml"))}
    sides, lists = _sides(root, split), sorted(path.stem for path in (root / "ImageSets" / "Main").glob("*.txt"))
    findings: list[Finding] = []
    pictures = []
    for stem, side in (sides or dict.fromkeys(files, None)).items():
        if stem not in files:
            findings.append(Finding("missing-annotation", str(root / "ImageSets" / "Main"), f"names {stem}, which has no XML file"))
            continue
        picture = _read_file(files[stem], root, findings)
        if picture is not None:
            pictures.append(replace(picture, side=side))
    if (root / "ImageSets" / "Main").is_dir():
        pictures = _from_one(pictures)
    left = len(files) - len(sides) if sides else 0
    left_out = f", {left} pictures are on no side that is used" if left > 0 else ""
    form = f"VOC with {split}" if split else "VOC" + (f" with lists {', '.join(lists)}" if lists else "")
    return Annotations(root, form, tuple(pictures), findings=tuple(findings), left_out=left_out)


def _folders(root: Path) -> list[Path]:
    named = [root / name for name in FOLDERS if (root / name).is_dir()]
    return named or [root, *(folder for folder in sorted(root.iterdir()) if folder.is_dir())]


def _sides(root: Path, split: str | None) -> dict[str, str | None]:
    """Stem -> side of the pictures that are used; empty: all, without sides."""
    lists = {path.stem: path for path in (root / "ImageSets" / "Main").glob("*.txt")}
    if split is not None:
        if split not in lists and split == "trainval" and {"train", "val"} <= lists.keys():
            return dict.fromkeys([*_stems(lists["train"]), *_stems(lists["val"])], None)
        if split not in lists:
            raise DataError(f"{root}: no list {split!r} in ImageSets/Main; there is {', '.join(sorted(lists)) or 'none'}")
        return dict.fromkeys(_stems(lists[split]), None)
    if not SIDES.keys() <= lists.keys():
        return {}
    return {stem: side for name, side in SIDES.items() for stem in _stems(lists[name])}


def _stems(path: Path) -> list[str]:
    return [line.split()[0] for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def _read_file(path: Path, root: Path, findings: list[Finding]) -> Annotated | None:
    try:
        text = path.read_text(encoding="utf-8-sig")
        tree = ElementTree.fromstring(text)
    except (OSError, UnicodeDecodeError, ElementTree.ParseError) as error:
        findings.append(Finding("unreadable", str(path), f"cannot be read as XML ({error}); it is left out"))
        return None
    name = (tree.findtext("filename") or "").strip()
    folder = path.parent.parent if path.parent.name in FOLDERS else path.parent
    named = locate(name or f"{path.stem}.jpg", [folder, root, path.parent])
    picture = named if named.is_file() else _by_stem(path.stem, [folder, root, path.parent]) or named
    lines = [text[: match.start()].count("\n") + 1 for match in re.finditer(r"<object\b", text)]
    objects = []
    for number, entry in enumerate(tree.findall("object")):
        where = f"{path}:{lines[number]}" if number < len(lines) else str(path)
        try:
            left, top, right, bottom = (float(entry.findtext(f"bndbox/{tag}", "")) for tag in ("xmin", "ymin", "xmax", "ymax"))
        except ValueError:
            findings.append(Finding("not-a-number", where, "an object without four numbers in its bndbox; it is left out"))
            continue
        label = (entry.findtext("name") or "").strip()
        if not label:
            findings.append(Finding("no-name", where, "an object without a name; it is left out"))
            continue
        ignored = (entry.findtext("difficult") or "0").strip() == "1"
        objects.append(Written(label, (left, top, right, bottom), where, ignored))
    return Annotated(picture, tuple(objects))


def _by_stem(stem: str, roots: Sequence[Path]) -> Path | None:
    """A picture that is called like the XML file, whatever name the file itself gives."""
    for suffix in (".jpg", ".jpeg", ".png", ".JPG", ".bmp", ".webp"):
        found = locate(stem + suffix, roots)
        if found.is_file():
            return found
    return None


def _has_area(entry: Written) -> bool:
    """Whether a box is wider and higher than nothing, as it is written; one that is not is found out later, and not mended here."""
    return entry.box[2] > entry.box[0] and entry.box[3] > entry.box[1]


def _from_one(pictures: list[Annotated]) -> list[Annotated]:
    """Boxes that count pixels from 1 as boxes from the corner; as they stand if one of them touches 0."""
    boxes = [entry.box for picture in pictures for entry in picture.objects]
    if any(min(box[:2]) < 1 for box in boxes):
        return pictures
    return [
        replace(
            picture,
            objects=tuple(
                replace(entry, box=(entry.box[0] - 1, entry.box[1] - 1, *entry.box[2:])) if _has_area(entry) else entry
                for entry in picture.objects
            ),
        )
        for picture in pictures
    ]


def _recognised(source: Path, request: Request) -> bool:
    return source.is_dir() and is_voc(source)


def _read_dataset(source: Path, request: Request) -> Dataset:
    points = request.wants("points")
    return assemble(read_voc(source, request.split), points, request.classes)


READER = Reader(("objects", "points"), "Pascal VOC's Annotations", _recognised, _read_dataset)
