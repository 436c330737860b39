"""Which file on the disk is the picture that an annotation names: the one that is meant, or none.

Looked for as it is written, beside the annotation file and in the usual folders; then in all of the data's folder, by as many parts of
the written path as agree, first in the same case, then in any, then by the name without its suffix. A picture of the other side of a split
is not the one that is meant, nor is one outside the data's folder. Where two would do, neither is taken.
"""

from functools import cached_property
from pathlib import Path

from onelook.data.pictures import files_in, is_picture
from onelook.data.samples import Finding
from onelook.data.sides import side_in

PICTURE_FOLDERS = ("", "images", "JPEGImages", "imgs", "pictures", "data")
LABEL_FOLDERS = ("annotations", "annotation", "labels", "ann", "json", "jsons", "xml", "xmls")  # beside those of pictures


class Locator:
    """The pictures of one data set, to be found by the names that its files give them.

    ``source``: the data's folder, or its annotation file: then the folder around it, or the one above if it is called ``annotations``.
    """

    def __init__(self, source: Path) -> None:
        folder = source if source.is_dir() else source.parent
        self.root = folder.parent if not source.is_dir() and folder.name.lower() in LABEL_FOLDERS else folder

    def find(self, name: str, near: Path, where: str, findings: list[Finding], side: str | None = None) -> Path | None:
        """The picture called ``name`` in an annotation file in the folder ``near``; where it should be if it is nowhere.

        ``side``: that of the annotation file (train, val, test), if it has one. None, with a finding at ``where``, if several would do.
        """
        written = Path(_plain(name))
        if written.is_absolute() and written.is_file():
            return written
        for root in (near, self.root):
            for folder in PICTURE_FOLDERS:
                candidate = root / folder / written
                if candidate.is_file() and (folder == "" or not self._of_other_side(candidate, side)):
                    return candidate
        found = self._among_all(written, side)
        if len(found) > 1:
            shown = " or ".join(self._shown(path) for path in found[:3])
            findings.append(Finding("ambiguous-picture", where, f"{name} may be {shown}; it is left out", tuple(map(str, found))))
            return None
        return found[0] if found else near / written

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        """Every picture in the data's folder by its name without suffix, in small letters."""
        found: dict[str, list[Path]] = {}
        for file in filter(is_picture, files_in(self.root)):
            found.setdefault(file.stem.casefold(), []).append(file)
        return found

    def _among_all(self, written: Path, side: str | None) -> list[Path]:
        """The pictures that agree best with a written path."""
        named = self._by_stem.get(written.name.casefold(), [])  # without a suffix
        named = named or self._by_stem.get(written.stem.casefold(), [])
        if not named:
            return []
        exact = [path for path in named if path.name == written.name]
        alike = exact or [path for path in named if path.name.casefold() == written.name.casefold()]
        alike = alike or [path for path in named if not self._is_label(path)]
        if not alike:
            return []
        depth = {path: _agreeing(path, written) for path in alike}
        most = max(depth.values())
        best = [path for path in alike if depth[path] == most]
        if most == 0:
            best = [path for path in best if not self._of_other_side(path, side)]
            best = [path for path in best if side is not None and self._side(path) == side] or best
        return best

    def _side(self, path: Path) -> str | None:
        return side_in(path.relative_to(self.root).parent) if path.is_relative_to(self.root) else None

    def _of_other_side(self, path: Path, side: str | None) -> bool:
        found = self._side(path)
        return None not in (found, side) and found != side

    def _is_label(self, path: Path) -> bool:
        """Whether a file of the same stem lies among labels: a mask is not the picture that it is of."""
        folders = [part.lower() for part in path.relative_to(self.root).parts[:-1]]
        return any(part in LABEL_FOLDERS or "mask" in part or "segmentation" in part for part in folders)

    def _shown(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _plain(name: str) -> str:
    """A written path with slashes, and without another system's drive: ``H:\\data\\1.jpg`` as ``data/1.jpg``."""
    path = name.strip().replace("\\", "/")
    return path[2:].lstrip("/") if len(path) > 1 and path[1] == ":" and path[0].isalpha() else path


def _agreeing(path: Path, written: Path) -> int:
    """How many folders above the file are called as written."""
    count = 0
    for one, other in zip(reversed(path.parts[:-1]), reversed(written.parts[:-1]), strict=False):
        if one.casefold() != other.casefold():
            break
        count += 1
    return count
