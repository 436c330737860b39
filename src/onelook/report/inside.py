"""Pages and sheets of what is inside a network.

onelook anatomy resnet50 --report page/
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

from onelook.answers.canvas import GREY, INK, PAPER, font, with_caption
from onelook.data.pictures import open_picture
from onelook.inside.activations import Activations, strength
from onelook.inside.anatomy import HEADER, KIND_HEADER, Anatomy
from onelook.inside.beside import HEADER as HEADER_BESIDE
from onelook.inside.beside import Beside
from onelook.inside.deconvnet import Reconstruction
from onelook.inside.explain import Explanation
from onelook.inside.filters import Learned, convolve
from onelook.inside.over import GROUP_HEADER, Group
from onelook.inside.patches import Patch, Patches, Unit
from onelook.metrics.judge import Table
from onelook.report.page import Picture, Section, shown, write_page

Seen = tuple[Patches, Sequence[tuple[Unit, Sequence[Reconstruction]]]]  # what excites a layer's units, and what made some of them active


def write_anatomy(
    folder: Path, found: Anatomy, seen: Sequence[Seen] = (),
    becomes: Sequence[Activations] = (), why: Sequence[Explanation] = (),
) -> Path:  # fmt: skip
    """Write ``folder``/index.html and return its path. Raises DiskError.

    ``seen``: for layers, the first ones first, what excites their units, and what made some of these active; a click shows it.
    ``becomes``: what a picture becomes in the network; ``why``: what speaks for heads' answers to pictures.
    """
    most = max((layer.macs for layer in found.layers), default=0) or 1
    shades = tuple((0.0,) * 5 + (0.5 * layer.macs / most,) + (0.0,) * 2 for layer in found.layers)
    rows = tuple(tuple(row) for row in found.rows(every=True))
    kinds = tuple(tuple(row) for row in found.kind_rows())
    lead = f"{found.parameters:,} parameters, {found.macs:,} multiply-accumulates for an input of {' x '.join(map(str, found.input))}."
    note = "A multiply-accumulate (MAC) is two FLOPs; of convolutions and matrix products. Field: pixels of the input that a place sees."
    sections = [Section("By kind", table=Table("", KIND_HEADER, kinds))]
    sections += [_layer_section(patches, sent) for patches, sent in seen]
    if becomes:
        sheet = shown(activation_sheet(becomes), "activations", "", WIDE)
        sections.append(Section("What a picture becomes", sheets=(sheet,), folded=True))
    for head in dict.fromkeys(one.head for one in why):
        maps = tuple(shown(explained(one), one.path.name, f"{one.claim}", SPREAD) for one in why if one.head == head)
        sections.append(Section(f"{head}: why it answers so", sheets=maps, folded=True))
    sections.append(Section("Layer by layer", table=Table("", HEADER, rows, shades=shades), note=note, folded=bool(seen or becomes or why)))
    return write_page(folder, f"Anatomy of {found.name}", lead, sections)


def write_beside(
    folder: Path, found: Beside, kernels: Sequence[Tensor], seen: Sequence[Sequence[Seen]], why: Sequence[Sequence[Explanation]]
) -> Path:
    """Write ``folder``/index.html about two networks and return its path. Raises DiskError.

    ``kernels``: their first filters; ``seen``: of every common stage what excites their units, and what made some of these active; ``why``:
    what speaks for their answers.
    """
    sheets = [kernel_sheet(each, f"{name}: {first}") for name, first, each in zip(found.names, found.first, kernels, strict=True)]
    note = "Dead: above 0 in no picture. Alike: linear CKA of what both say of the pictures, 1: the same but for a rotation of units."
    sections = [
        Section("Stage by stage", table=Table("", HEADER_BESIDE, tuple(map(tuple, found.rows()))), note=note),
        Section("The first filters", sheets=(shown(stacked(sheets), "filters", "", WIDE),)),
    ]
    for both in zip(*seen, strict=True):
        shots = [
            sheet for name, (patches, sent) in zip(found.names, both, strict=True) for sheet in _layer_sheets(patches, sent, f"{name}, ")
        ]
        sections.append(Section(f"{both[0][0].layer}: what excites the units", sheets=tuple(shots), folded=True))
    maps = [
        shown(explained(one), f"{name}, {one.path.name}", one.claim, SPREAD)
        for pair in zip(*why, strict=False)
        for name, one in zip(found.names, pair, strict=True)
    ]
    sections += [Section("Why they answer so", sheets=tuple(maps))] if maps else []
    return write_page(folder, f"{found.names[0]} beside {found.names[1]}", f"On the same {found.pictures} pictures.", sections)


def _layer_section(found: Patches, sent: Sequence[tuple[Unit, Sequence[Reconstruction]]]) -> Section:
    dead = f", {found.dead} dead" if found.dead else ""
    note = "" if sent else "What made units active cannot be sent back in this network: it has other activations than rectifiers."
    return Section(
        f"{found.layer}: {len(found.units)} units{dead}, a place sees {found.sees}", sheets=tuple(_layer_sheets(found, sent)), note=note,
        folded=True,
    )  # fmt: skip


def _layer_sheets(found: Patches, sent: Sequence[tuple[Unit, Sequence[Reconstruction]]], whose: str = "") -> list[Picture]:
    """What excites a layer's units, and what made some of them active, if that is known."""
    some = replace(found, layer=whose + found.layer, units=found.units[:UNITS])
    sheets = [shown(patch_sheet(some), "patches", "", WIDE)]
    return sheets + ([shown(deconvnet_sheet(some.layer, sent), "reconstructions", "", WIDE)] if sent else [])


def activation_sheet(found: Sequence[Activations], columns: int = 12) -> Image.Image:
    """A row a stage: the maps of its most active units, each by its own largest value."""
    rows = []
    for one in found:
        maps = [_enlarged(Image.fromarray((255 * _inferno(values)).astype("uint8"))) for values in strength(one)]
        size = " x ".join(map(str, one.shape))
        title = f"{one.layer}: {size}, {one.silent:.0%} of the units silent"
        rows.append(_sheet(title, [f"unit {unit}" for unit in one.units], [[[single]] for single in maps], columns, across=1))
    return stacked(rows)


def response(values: Tensor) -> Image.Image:
    """What a filter gives (H, W), around grey."""
    return _signed(values.expand(3, -1, -1))


def kernel_sheet(kernels: Tensor, title: str, columns: int = 12) -> Image.Image:
    """Filters (N, C, f, g) as small pictures: in colours where there are three channels, else their sum."""
    shown = [_enlarged(_signed(kernel if len(kernel) == 3 else kernel.sum(0).expand(3, -1, -1))) for kernel in kernels]
    return _sheet(title, [str(number) for number in range(len(shown))], [[[one]] for one in shown], columns, across=1)


def stacked(sheets: Sequence[Image.Image]) -> Image.Image:
    """Sheets below each other."""
    whole = Image.new("RGB", (max(sheet.width for sheet in sheets), sum(sheet.height for sheet in sheets)), PAPER)
    top = 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height
    return whole


def learning_strip(stages: Sequence[Learned], values: Tensor, wanted: Tensor) -> Image.Image:
    """A kernel on its way, what it gives of a picture beside it, and at the end what was wanted."""
    names = [f"step {one.step}: {one.loss:.1e}" for one in stages] + ["wanted"]
    kernels = [*(one.kernel for one in stages), wanted]
    squares = [[[_enlarged(response(kernel))], [_enlarged(response(convolve(values, kernel)))]] for kernel in kernels]
    return _sheet("nine numbers, found by back-propagation", names, squares, 3, across=1)


def _enlarged(picture: Image.Image) -> Image.Image:
    """To a square of three cells, pixels as blocks."""
    side = ACROSS * CELL - 6
    return ImageOps.contain(picture, (side, side), Image.Resampling.NEAREST if max(picture.size) < 16 else Image.Resampling.BICUBIC)


def explained(found: Explanation) -> Image.Image:
    """The picture beside itself with what speaks for the answer in warm colours; a frame where the answer lies; claim and trust below."""
    picture = open_picture(found.path)
    grow = max(1.0, 480 / max(picture.size))
    picture = picture.resize((round(picture.width * grow), round(picture.height * grow)), Image.Resampling.BICUBIC)
    tinted = Image.blend(ImageOps.grayscale(picture).convert("RGB"), _over(found, picture.size, grow), 0.55)
    if found.place is not None:
        box = found.placement.boxes_to_original(torch.tensor([found.place]))[0] * grow
        ImageDraw.Draw(tinted).rectangle(box.tolist(), outline=INK, width=max(2, picture.width // 200))
    both = Image.new("RGB", (2 * picture.width + 6, picture.height), PAPER)
    both.paste(picture, (0, 0))
    both.paste(tinted, (picture.width + 6, 0))
    lines = [f"{found.head}: {found.claim}; by {found.method} on {found.layer}", *([str(found.trust)] if found.trust else [])]
    return with_caption(both, lines)


def write_over(folder: Path, head: str, source: Path, groups: Sequence[Group]) -> Path:
    """Write ``folder``/index.html: where a head looks, group by group. Raises DiskError."""
    rows = tuple(tuple(group.row()) for group in groups)
    doubtful = [number for number, group in enumerate(groups) if group.suspicious]
    said = (
        f"In {len(doubtful)} of {len(groups)} groups one place decides: see whether the object lies there."
        if doubtful
        else "In no group does one place decide by itself."
    )
    note = "Pictures of one answer whose maps are alike. The place that a group's mean map names most is hidden in all its pictures."
    sections = [Section("Groups", table=Table("", GROUP_HEADER, rows, chosen=doubtful[0] if doubtful else -1), note=note)]
    for group in groups:
        mean = Image.fromarray((255 * _inferno(group.mean / group.mean.max().clamp_min(1e-12))).astype("uint8"))
        pictures = [shown(mean.resize((224, 224), Image.Resampling.BICUBIC), "mean map", f"{len(group.paths)} pictures")]
        pictures += [shown(_marked(path, group.place), path.name, group.claim) for path in group.paths[:EXAMPLES]]
        title = f"{group.claim}: {group.where}" + (" (decides)" if group.suspicious else "")
        sections.append(Section(title, pictures=tuple(pictures)))
    return write_page(folder, f"Where {head} looks: {source}", said, sections)


def _marked(path: Path, place: tuple[float, float, float, float]) -> Image.Image:
    """A picture with a frame around a place that is given as shares."""
    picture = open_picture(path)
    left, top, right, bottom = (share * side for share, side in zip(place, picture.size * 2, strict=True))
    ImageDraw.Draw(picture).rectangle((left, top, right, bottom), outline=RING, width=max(2, max(picture.size) // 100))
    return picture


def _inferno(values: Tensor) -> Any:
    """Colours (h, w, 3), 0..1."""
    import matplotlib

    return matplotlib.colormaps["inferno"](values.numpy())[..., :3]


def _over(found: Explanation, size: tuple[int, int], grow: float) -> Image.Image:
    """The map in colours, where the picture shows what the network saw; the rest, which a crop left out, is as cold as nothing."""
    heat = Image.fromarray((255 * _inferno(found.values)).astype("uint8"))
    corners = torch.tensor([[0.0, 0.0, *map(float, found.placement.content)]])
    left, top, right, bottom = (round(value) for value in (found.placement.boxes_to_original(corners)[0] * grow).tolist())
    whole = Image.new("RGB", size, (0, 0, 4))
    whole.paste(heat.resize((max(1, right - left), max(1, bottom - top)), Image.Resampling.BICUBIC), (left, top))
    return whole


CELL, ACROSS = 56, 3  # pixels of a region in a sheet; regions in a row of a unit
LEAST_CUT = 1000  # numbers of a picture from which on its largest hundredth may be cut off
LARGE = 0.5  # share of a picture from which on a region is marked by its middle
RING = (234, 96, 53)
EXAMPLES = 11  # pictures of a group that are shown
UNITS, WIDE, SPREAD = 40, 1600, 960  # units of a layer on a page, pixels of their sheet, and of an explained picture


def patch_sheet(found: Patches, columns: int = 8) -> Image.Image:
    """The regions of every unit as a square of nine, the units side by side."""
    crops = _crops([patch for unit in found.units for patch in unit.patches])
    squares = [[[crops[patch] for patch in unit.patches]] for unit in found.units]
    title = f"{found.layer}: what excites its units most, of {found.pictures} pictures; a place sees {found.sees}"
    return _sheet(title, [f"unit {unit.unit}" for unit in found.units], squares, columns)


def deconvnet_sheet(layer: str, units: Sequence[tuple[Unit, Sequence[Reconstruction]]], columns: int = 4) -> Image.Image:
    """Of every unit the nine regions that excite it, and beside them what in each made it active; grey is nothing."""
    squares = [[[_fitted(_pixels(one.seen)) for one in found], [_fitted(_signed(one.made)) for one in found]] for _, found in units]
    rule = next((found[0].rule for _, found in units if found), "deconvnet")
    by = "by switches and rectifiers (deconvnet)" if rule == "deconvnet" else "by the rectifiers' own signs, too (guided)"
    return _sheet(
        f"{layer}: regions, and what in them made the unit active, {by}", [f"unit {unit.unit}" for unit, _ in units], squares, columns
    )


def _sheet(
    title: str, names: Sequence[str], squares: Sequence[Sequence[Sequence[Image.Image]]], columns: int, across: int = ACROSS
) -> Image.Image:
    """For every name one or several squares of ``across`` x ``across`` pictures, side by side."""
    side, head, top, cell = ACROSS * CELL, 16, 26, ACROSS * CELL // across
    wide = side * max((len(mine) for mine in squares), default=1) + 6 * (max((len(mine) for mine in squares), default=1) - 1) + 10
    columns = max(1, min(columns, len(squares)))
    sheet = Image.new("RGB", (max(columns * wide + 10, 640), top + -(-len(squares) // columns) * (side + head + 8)), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((8, 5), title, fill=INK, font=font(14))
    for number, (name, mine) in enumerate(zip(names, squares, strict=True)):
        left, down = 10 + number % columns * wide, top + number // columns * (side + head + 8)
        pen.text((left, down), name, fill=GREY, font=font(11))
        for beside, pictures in enumerate(mine):
            for place, picture in enumerate(pictures):
                x = left + beside * (side + 6) + place % across * cell
                y = down + head + place // across * cell
                sheet.paste(picture, (x + (cell - picture.width) // 2, y + (cell - picture.height) // 2))
    return sheet


def _crops(patches: Sequence[Patch]) -> dict[Patch, Image.Image]:
    """The region of each patch, at most a cell; every picture is read once."""
    by_path: dict[Path, list[Patch]] = {}
    for patch in patches:
        by_path.setdefault(patch.path, []).append(patch)
    return {patch: _crop(picture, patch) for path, mine in by_path.items() for picture in [open_picture(path)] for patch in mine}


def _crop(picture: Image.Image, patch: Patch) -> Image.Image:
    left, top, right, bottom = (round(value) for value in patch.box)
    crop = _fitted(picture.crop((left, top, max(left + 1, right), max(top + 1, bottom))))
    if (right - left) * (bottom - top) > LARGE * picture.width * picture.height:
        x = (patch.centre[0] - left) / max(1, right - left) * crop.width
        y = (patch.centre[1] - top) / max(1, bottom - top) * crop.height
        ImageDraw.Draw(crop).ellipse((x - 5, y - 5, x + 5, y + 5), outline=RING, width=2)
    return crop


def _fitted(picture: Image.Image) -> Image.Image:
    """At most a cell, with a rim."""
    return ImageOps.contain(picture, (CELL - 2, CELL - 2))


def _pixels(values: Tensor) -> Image.Image:
    """RGB bytes (h, w, 3)."""
    return Image.fromarray(values.contiguous().numpy())


def _signed(values: Tensor) -> Image.Image:
    """Signed values (3, h, w) around grey; all but the largest hundredth keep their differences."""
    sizes = values.abs().numpy()  # torch's quantile takes no large pictures
    limit = float(np.quantile(sizes, 0.99) if sizes.size > LEAST_CUT else sizes.max())
    lit = 0.5 + values / (2 * max(limit, 1e-12))
    return _pixels((255 * lit.clamp(0, 1).permute(1, 2, 0)).round().to(torch.uint8))
