"""Documentation that cannot drift: names in papers.md exist, the README's Python runs, imports go one way."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from PIL import Image

from onelook.workflows.export import export
from tests.conftest import small_model
from tests.test_video import WALL, write_film

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "onelook"
ROOT_FILES = 12  # modules in the root at most
MOST_FLOORS = 12
SHARED_BY_HEADS = {
    "base", "context", "pooled", "box_head", "keypoint_head", "pixel_head", "identity_head", "roi_head", "pyramid", "tail", "options",
    "familiar",
}  # fmt: skip


def test_papers_name_files_that_exist() -> None:
    named = re.findall(r"`([\w/]+\.py)`", (ROOT / "docs" / "papers.md").read_text())
    assert named
    assert not [name for name in named if not (SOURCE / name).exists()]


def test_architecture_names_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {room_of(path) for path in SOURCE.rglob("*.py")} - {"__init__", "__main__"}
    assert not [name for name in rooms if f"`{name}" not in text]


def room_of(path: Path) -> str:
    """The folder of the first level in which a file lies, or the name of a module of the root."""
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    """The modules of onelook that a file imports, anywhere in it, in dotted words behind ``onelook.``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "onelook":
            base = node.module.removeprefix("onelook").removeprefix(".")
            found |= {base} if base else {alias.name for alias in node.names}
            found |= {
                f"{base}.{alias.name}" for alias in node.names if base and (SOURCE / base.replace(".", "/") / f"{alias.name}.py").exists()
            }
    return found


def floors_of(arrows: dict[str, set[str]]) -> dict[str, int]:
    """Each name's floor, 0 for what imports nothing; raises CycleError where imports go in a circle."""
    floors: dict[str, int] = {}
    for name in TopologicalSorter(arrows).static_order():
        floors[name] = 1 + max((floors[below] for below in arrows.get(name, ())), default=-1)
    return floors


def test_rooms_stand_on_floors_without_circles() -> None:
    """Derived from the folders: every room imports from lower floors only."""
    arrows: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        room = room_of(path)
        if room not in ("__init__", "__main__"):
            rooms = {module.split(".")[0] for module in imported(path)} - {room, "__version__"}
            arrows.setdefault(room, set()).update(rooms)
    floors = floors_of(arrows)
    assert max(floors.values()) < MOST_FLOORS, floors


def test_modules_import_in_no_circle() -> None:
    arrows: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        if name not in ("__init__", "__main__"):
            files = {module for module in imported(path) if (SOURCE / f"{module.replace('.', '/')}.py").exists()}
            packages = {f"{module}.__init__" for module in imported(path) if (SOURCE / module.replace(".", "/") / "__init__.py").exists()}
            arrows[name] = (files | packages) - {name}
    floors_of(arrows)


def test_the_root_is_small() -> None:
    assert len(list(SOURCE.glob("*.py"))) <= ROOT_FILES
    assert len((SOURCE / "model.py").read_text().splitlines()) <= 250


def test_methods_do_not_know_each_other() -> None:
    """A file of heads/ imports only what is shared by heads."""
    for path in (SOURCE / "heads").glob("*.py"):
        if path.stem != "__init__":
            others = {module.split(".")[1] for module in imported(path) if module.startswith("heads.")}
            assert others <= SHARED_BY_HEADS, path.name


@pytest.mark.parametrize("page", ["README.md", "docs/export.md", "docs/video.md", pytest.param("docs/style.md", marks=pytest.mark.slow)])
def test_python_of_pages_runs(page: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").symlink_to(photos)
    for name, picture in zip(("photo.jpg", "painting.jpg"), sorted(photos.rglob("*.png")), strict=False):
        Image.open(picture).save(name)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        if "mine.on" in block and not Path("mine.onelook").exists():
            small_model(photos).save("mine.onelook")
        if "film.mp4" in block:
            write_film(Path("film.mp4"), [(WALL, 20)])
        if "mine.onnx" in block:
            export("mine.onelook", "onnx", "mine.onnx")
        exec(compile(block, page, "exec"), {})
