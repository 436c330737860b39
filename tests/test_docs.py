"""Documentation that cannot drift: names in papers.md exist, the README's Python runs, imports go one way."""

import ast
import re
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "onelook"
FLOORS = [
    "cli",
    "demo bench",
    "train validate",
    "report",
    "compare price draw",
    "model",
    "ladder crops depth",
    "descend",
    "tune",
    "select",
    "problem gather",
    "averaged rows ask tiles",
    "tail",
    "heads looker fit ridge",
    "cache engines modelfile",
    "backbone measure measure_boxes measure_points measure_pixels proposals",
    "answers look weights progress nets data tta calibrate",
    "anchors boxes half depthwise",
    "instances",
    "objects masks",
    "errors",
]
SHARED_BY_HEADS = {"readout", "facts", "pyramid", "detection", "pose", "rois", "pixels"}


def test_papers_name_files_that_exist() -> None:
    named = re.findall(r"`([\w/]+\.py)`", (ROOT / "docs" / "papers.md").read_text())
    assert named
    assert not [name for name in named if not (SOURCE / name).exists()]


def test_architecture_names_every_module() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    names = [path.name for path in SOURCE.iterdir() if path.suffix == ".py" and not path.name.startswith("__")]
    assert not [name for name in names if name not in text]


def floor(module: str) -> int:
    return next((level for level, names in enumerate(FLOORS) if module in names.split()), -1)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_go_downwards(path: Path) -> None:
    """cli -> model -> heads, cache, fit -> backbone, look, data; never upward; heads do not import each other, only what they share."""
    here = path.relative_to(SOURCE).with_suffix("").parts
    if here[0] in ("__init__", "__main__"):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("onelook."):
            there = node.module.split(".")[1]
            if there == here[0]:
                if here[0] == "heads" and here[-1] != "__init__":
                    assert node.module.split(".")[-1] in SHARED_BY_HEADS
                continue
            assert floor(there) >= floor(here[0]), f"{path.name} imports {node.module}, which stands above it"


def test_readme_python_runs(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").symlink_to(photos)
    Image.open(next(photos.rglob("*.png"))).save("photo.jpg")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
