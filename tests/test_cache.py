"""The cache: exact, incremental, surviving a kill, shared by processes, honest about a full disk."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from onelook.backbones.backbone import Backbone
from onelook.backbones.engines import TorchEngine
from onelook.errors import DiskError
from onelook.geometry.placement import Geometry
from onelook.looks.cache import CacheKey, FeatureCache, clear_caches, list_caches
from onelook.looks.collect import collect, open_store
from onelook.looks.extractor import PLAIN, Extractor
from onelook.looks.features import Look, Needs
from onelook.looks.store import check_room
from onelook.progress import QUIET

ALL = Needs(maps=(8, 16), pooled=(4, 32), embedding=True)


def row(number: int, view: int = 0) -> tuple[str, int]:
    return f"{number:032x}", view


def made_up(backbone: Backbone, geometry: Geometry, sizes: list[tuple[int, int]], needs: Needs = ALL, seed: int = 0) -> Look:
    draw = torch.Generator().manual_seed(seed)
    placements = tuple(geometry.place(*size) for size in sizes)
    width, height = placements[0].input
    n, shapes = len(sizes), backbone.map_sizes(height, width)
    maps = {stride: torch.randn(n, backbone.channels[stride], *shapes[stride], generator=draw) for stride in needs.maps}
    pooled = {stride: torch.randn(n, 3, backbone.channels[stride], generator=draw) for stride in needs.pooled}
    return Look(placements, maps, pooled, torch.randn(n, backbone.embedding_size, generator=draw))


def open_cache(root: Path, backbone: Backbone, needs: Needs = ALL) -> FeatureCache:
    return FeatureCache(root, CacheKey(backbone.fingerprint, 6, needs, Geometry(64), "r", 0), backbone)


def same(look: Look, expected: Look, index: int, where: int) -> bool:
    pairs = [(look.maps[s][where], expected.maps[s][index]) for s in look.maps]
    pairs += [(look.pooled[s][where], expected.pooled[s][index]) for s in look.pooled]
    pairs.append((look.embedding[where], expected.embedding[index]))  # type: ignore[index]
    return all(torch.equal(a, b.half().float()) for a, b in pairs)


def test_rows_come_back_in_any_order_and_size(tmp_path: Path, tiny: Backbone) -> None:
    cache = open_cache(tmp_path, tiny)
    wide = made_up(tiny, Geometry(64), [(100, 50), (98, 49)])
    square = made_up(tiny, Geometry(64), [(64, 64)], seed=1)
    cache.append([row(1), row(2)], wide)
    cache.append([row(3)], square)
    again = open_cache(tmp_path, tiny)  # from disk
    assert again.missing([row(3), row(9), row(1), row(9)]) == [row(9)]
    found = again.read([row(2), row(1)])
    assert same(found, wide, 1, 0)
    assert same(found, wide, 0, 1)
    assert same(again.read([row(3)]), square, 0, 0)
    assert found.placements[0].original == (98, 49)


def test_a_row_is_written_once(tmp_path: Path, tiny: Backbone) -> None:
    one, two = open_cache(tmp_path, tiny), open_cache(tmp_path, tiny)
    look = made_up(tiny, Geometry(64), [(64, 64)])
    one.append([row(1)], look)
    two.append([row(1)], made_up(tiny, Geometry(64), [(64, 64)], seed=5))
    assert len(open_cache(tmp_path, tiny)) == 1
    assert same(two.read([row(1)]), look, 0, 0)


@pytest.mark.parametrize("cut", [1, 20, 43])
def test_a_torn_record_is_forgotten_and_written_over(tmp_path: Path, tiny: Backbone, cut: int) -> None:
    cache = open_cache(tmp_path, tiny)
    look = made_up(tiny, Geometry(64), [(64, 64)] * 3)
    cache.append([row(n) for n in range(3)], look)
    index = cache.folder / "index.bin"
    index.write_bytes(index.read_bytes()[:-cut])
    again = open_cache(tmp_path, tiny)
    assert again.missing([row(n) for n in range(3)]) == [row(2)]
    again.append([row(n) for n in range(3)], look)
    final = open_cache(tmp_path, tiny)
    assert all(same(final.read([row(n)]), look, n, 0) for n in range(3))


def test_a_damaged_record_is_not_believed(tmp_path: Path, tiny: Backbone) -> None:
    cache = open_cache(tmp_path, tiny)
    cache.append([row(1)], made_up(tiny, Geometry(64), [(64, 64)]))
    content = bytearray((cache.folder / "index.bin").read_bytes())
    content[30] ^= 1
    (cache.folder / "index.bin").write_bytes(content)
    assert len(open_cache(tmp_path, tiny)) == 0


def test_the_key_changes_with_everything(tiny: Backbone) -> None:
    base = CacheKey("f", 6, ALL, Geometry(64), "r", 0)
    others = [
        CacheKey("g", 6, ALL, Geometry(64), "r", 0), CacheKey("f", 5, ALL, Geometry(64), "r", 0),
        CacheKey("f", 6, Needs(pooled=(4,)), Geometry(64), "r", 0), CacheKey("f", 6, ALL, Geometry(96), "r", 0),
        CacheKey("f", 6, ALL, Geometry(64, "stretch"), "r", 0), CacheKey("f", 6, ALL, Geometry(64), "s", 0),
        CacheKey("f", 6, ALL, Geometry(64), "r", 1), CacheKey("f", 6, ALL, Geometry(64), "r", 0, "float32"),
    ]  # fmt: skip
    assert len({key.digest() for key in [base, *others]}) == 9


def test_a_changed_picture_is_looked_at_again(tmp_path: Path, tiny: Backbone, photos: Path) -> None:
    path = tmp_path / "a.png"
    pictures = sorted((photos / "temple").iterdir())
    extractor = Extractor(tiny, TorchEngine(tiny), Geometry(64))
    looked = []
    for content in (pictures[0], pictures[0], pictures[1]):
        path.write_bytes(content.read_bytes())
        store = open_store(tmp_path, extractor, ALL, PLAIN, 0)
        looked.append(collect(extractor, store, PLAIN, [path], 1, QUIET).looked)
    assert looked == [1, 0, 1]


def test_large_activations_are_cut_and_bad_ones_refused(tmp_path: Path, tiny: Backbone) -> None:
    cache = open_cache(tmp_path, tiny)
    look = made_up(tiny, Geometry(64), [(64, 64)])
    look.pooled[4][0, 0, 0] = 1e6
    cache.append([row(1)], look)
    assert float(cache.read([row(1)]).pooled[4].max()) == 65504
    look.pooled[4][0, 0, 0] = float("nan")
    with pytest.raises(DiskError, match="not finite"):
        cache.append([row(2)], look)


WRITER = """
import sys, torch
from pathlib import Path
from tests.test_cache import made_up, open_cache, row
from onelook.backbones.backbone import Backbone
from onelook.geometry.placement import Geometry
torch.manual_seed(0)
backbone = Backbone.load("random:test_efficientnet")
cache = open_cache(Path(sys.argv[1]), backbone)
print("ready", flush=True)
for start in range(0, int(sys.argv[2]), 4):
    rows = [row(n) for n in range(start, start + 4)]
    looks = [made_up(backbone, Geometry(64), [(64, 64)], seed=n) for n in range(start, start + 4)]
    for one, look in zip(rows, looks):
        cache.append([one], look)
"""


def write_in_process(root: Path, count: int) -> subprocess.Popen[str]:
    here = Path(__file__).parent.parent
    return subprocess.Popen([sys.executable, "-c", WRITER, str(root), str(count)], cwd=here, stdout=subprocess.PIPE, text=True)


def test_kill_nine_loses_nothing_that_was_indexed(tmp_path: Path, tiny: Backbone) -> None:
    process = write_in_process(tmp_path, 100_000)
    assert process.stdout is not None
    process.stdout.readline()
    index = open_cache(tmp_path, tiny).folder / "index.bin"
    while index.stat().st_size < 44 * 10:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    cache = open_cache(tmp_path, tiny)
    kept = len(cache)
    assert kept >= 10
    for number in (0, kept // 2, kept - 1):
        assert same(cache.read([row(number)]), made_up(tiny, Geometry(64), [(64, 64)], seed=number), 0, 0)
    cache.append([row(kept)], made_up(tiny, Geometry(64), [(64, 64)], seed=kept))
    assert same(cache.read([row(kept)]), made_up(tiny, Geometry(64), [(64, 64)], seed=kept), 0, 0)


@pytest.mark.slow
def test_two_processes_at_once(tmp_path: Path, tiny: Backbone) -> None:
    processes = [write_in_process(tmp_path, 60) for _ in range(2)]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    cache = open_cache(tmp_path, tiny)
    assert len(cache) == 60
    assert (cache.folder / "index.bin").stat().st_size == 60 * 48
    for number in range(60):
        assert same(cache.read([row(number)]), made_up(tiny, Geometry(64), [(64, 64)], seed=number), 0, 0)


def test_a_full_disk_is_said_and_what_was_saved_stays(tmp_path: Path, tiny: Backbone) -> None:
    cache = open_cache(tmp_path, tiny)
    look = made_up(tiny, Geometry(64), [(64, 64)])
    cache.append([row(1)], look)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = (cache.folder / "looks.f16").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
    try:
        with pytest.raises(DiskError, match=r"the disk is full; 1 looks are kept"):
            cache.append([row(2)], made_up(tiny, Geometry(64), [(64, 64)], seed=2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    again = open_cache(tmp_path, tiny)
    assert len(again) == 1
    assert same(again.read([row(1)]), look, 0, 0)
    cache.append([row(2)], made_up(tiny, Geometry(64), [(64, 64)], seed=2))
    assert same(cache.read([row(2)]), made_up(tiny, Geometry(64), [(64, 64)], seed=2), 0, 0)


def test_forecast_keeps_fewer_views_or_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: os.terminal_size((0, 0)) and type("Usage", (), {"free": 1000})())
    assert check_room(tmp_path, 200, 4) == 4
    assert check_room(tmp_path, 400, 4) == 2
    with pytest.raises(DiskError, match="onelook cache clear"):
        check_room(tmp_path, 10_000, 4)


def test_list_and_clear(tmp_path: Path, tiny: Backbone) -> None:
    cache = open_cache(tmp_path, tiny)
    cache.append([row(1)], made_up(tiny, Geometry(64), [(64, 64)]))
    (entry,) = list_caches(tmp_path)
    assert (entry.rows, entry.backbone) == (1, tiny.name)
    assert json.dumps(entry.to_json())
    assert clear_caches(tmp_path, entry.key) == entry.bytes
    assert list(list_caches(tmp_path)) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path, tiny: Backbone) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="ONELOOK_CACHE"):
        open_cache(tmp_path / "file", tiny)
