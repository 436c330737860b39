"""Readers, splits and folds."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from onelook.data.samples import Dataset, Sample
from onelook.data.split import assign_folds, split, write_split
from onelook.errors import DataError, UnreadableError
from onelook.workflows.data import read


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), "red").save(root / name)
    return root


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def dataset(labels: list[int], groups: list[str] | None = None) -> Dataset:
    samples = tuple(Sample(Path(f"{i}.png"), label, groups[i] if groups else None) for i, label in enumerate(labels))
    return Dataset(samples, tuple("abcdefgh"), "single", Path("x"), "made here")


def test_class_folders(tmp_path: Path) -> None:
    data = read(touch(tmp_path, "cat/1.png", "cat/deep/2.JPG", "dog/1.png", "猫/1.png"))
    assert data.classes == ("cat", "dog", "猫")
    assert data.counts() == {"cat": 2, "dog": 1, "猫": 1}


def test_folders_split_on_disk(tmp_path: Path) -> None:
    data = read(touch(tmp_path, "train/cat/1.png", "train/dog/1.png", "val/dog/2.png"))
    assert data.classes == ("cat", "dog")
    assert len(data.side("train")) == 2
    assert [sample.path.name for sample in data.side("val").samples] == ["2.png"]


def test_a_class_of_trains_is_not_a_split(tmp_path: Path) -> None:
    data = read(touch(tmp_path, "train/1.png", "car/1.png", "test/1.png"))
    assert data.classes == ("car", "test", "train")


def test_table_of_labels(tmp_path: Path) -> None:
    data = read(table(tmp_path, "Path,Label\na.png,10\nb.png,9\nc.png,10\n"))
    assert data.classes == ("9", "10")  # numbers in their own order
    assert [sample.target for sample in data.samples] == [1, 0, 1]
    assert data.samples[0].path == tmp_path / "a.png"


def test_table_of_several_labels(tmp_path: Path) -> None:
    columns = read(table(tmp_path, "path,scratch,dent\na.png,1,0\nb.png,0,0\n"))
    assert (columns.kind, columns.classes) == ("multi", ("scratch", "dent"))
    assert columns.samples[0].target == (1.0, 0.0)
    joined = read(table(tmp_path, "path,labels\na.png,dent|scratch\nb.png,\n"))
    assert (joined.kind, joined.classes) == ("multi", ("dent", "scratch"))
    assert [sample.target for sample in joined.samples] == [(1.0, 1.0), (0.0, 0.0)]


def test_table_of_numbers_groups_and_split(tmp_path: Path) -> None:
    data = read(table(tmp_path, "path,weight,cow,split\na.png,1.5,x,train\nb.png,2,y,val\n"), task="regress", group="cow")
    assert data.kind == "values"
    assert data.classes == ("weight",)
    assert [(s.target, s.group, s.side) for s in data.samples] == [((1.5,), "x", "train"), ((2.0,), "y", "val")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\na,b\n", "no path column"),
        ("path,label\n", "no rows"),
        ("path\na.png\n", "no label column"),
        ("path,label\na.png\n", "line 2: has another number of cells"),
        ("path,a,b\nx.png,1,maybe\n", "line 2: b is 'maybe'"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(table(tmp_path, text))


def test_bad_numbers_and_columns(tmp_path: Path) -> None:
    path = table(tmp_path, "path,weight\na.png,heavy\n")
    with pytest.raises(DataError, match="line 2: could not convert string to float: 'heavy'"):
        read(path, task="regress")
    with pytest.raises(DataError, match="no column 'height'; it has path, weight"):
        read(path, columns=["height"])
    with pytest.raises(DataError, match="not finite"):
        read(table(tmp_path, "path,weight\na.png,nan\n"), task="regress")


def test_bad_sources(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="no such folder"):
        read(tmp_path / "none")
    with pytest.raises(DataError, match="no pictures in class folders"):
        read(tmp_path)
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(DataError, match=r"no labelled pictures are recognised here; expected .*a table with a path column.*class folders"):
        read(tmp_path / "x.txt")
    with pytest.raises(DataError, match="is no class of this head; it knows cat"):
        read(touch(tmp_path, "dog/1.png"), classes=("cat",))
    (tmp_path / "latin.csv").write_bytes("path,label\né.png,ü\n".encode("latin-1"))
    (tmp_path / "é.png").touch()
    assert read(tmp_path / "latin.csv").samples[0].path == tmp_path / "é.png"  # as spreadsheets on Windows write it
    (tmp_path / "latin.csv").write_bytes(b"path,label\n\x00\xff.png,a\n")
    with pytest.raises(UnreadableError, match="UTF-8"):
        read(tmp_path / "latin.csv")


@given(st.lists(st.integers(0, 3), min_size=12, max_size=80), st.sampled_from([0.2, 0.25, 0.5]), st.integers(0, 5))
def test_splits_are_whole_disjoint_seeded_and_stratified(labels: list[int], share: float, seed: int) -> None:
    data = dataset([0, 0, 0, *labels, 1, 1, 1])
    train, val = split(data, share, seed)
    assert sorted(train + val) == list(range(len(data)))
    assert (train, val) == split(data, share, seed)
    for label in range(4):
        total = sum(sample.target == label for sample in data.samples)
        held = sum(data.samples[index].target == label for index in val)
        assert abs(held - share * total) <= 2
        assert total == 0 or held < total


def test_groups_stay_together() -> None:
    labels = [i % 2 for i in range(60)]
    names = [f"g{i // 5}" for i in range(60)]
    data = dataset(labels, names)
    train, val = split(data, 0.25, 0)
    assert not {names[i] for i in train} & {names[i] for i in val}
    folds = assign_folds(data, 5, 0)
    assert all(len({folds[i] for i in range(60) if names[i] == name}) == 1 for name in names)


def test_folds_are_stratified_and_small_sets_work() -> None:
    folds = assign_folds(dataset([0] * 50 + [1] * 10), 5, 0)
    assert [int((folds[50:] == fold).sum()) for fold in range(5)] == [2] * 5
    assert set(assign_folds(dataset([0, 1]), 5, 0)) == {0, 1}
    assert len(np.unique(assign_folds(dataset([0] * 9 + [1]), 5, 0))) == 5


def test_a_written_split_is_read_back(tmp_path: Path) -> None:
    data = read(touch(tmp_path / "photos", *(f"{kind}/{i}.png" for kind in ("cat", "dog") for i in range(8))))
    train, val = split(data, 0.25, 3)
    path = tmp_path / "runs" / "split.csv"
    path.parent.mkdir()
    write_split(path, data.pick(train), data.pick(val))
    again = read(path)
    assert again.classes == data.classes
    assert {s.path.resolve() for s in again.side("val").samples} == {data.samples[i].path.resolve() for i in val}
    assert {s.path.resolve(): s.target for s in again.samples} == {s.path.resolve(): s.target for s in data.samples}


def test_too_few_to_split() -> None:
    with pytest.raises(DataError, match="too few"):
        split(dataset([0, 1]), 0.5, 0)
    with pytest.raises(DataError, match="between 0 and 1"):
        split(dataset([0, 1]), 25, 0)
