"""``onelook export``: a model as a file for other programs."""

import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from onelook.cli.options import Json, Quiet, Weights, done, names, progress


class ToName(StrEnum):
    """Formats that other programs run."""

    onnx = "onnx"
    openvino = "openvino"
    litert = "litert"
    pt2 = "pt2"


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .onelook file.")],
    to: Annotated[ToName, typer.Option("--to", help="The format.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to (default: beside FILE).")] = None,
    heads: Annotated[str | None, typer.Option("--heads", metavar="A,B", help="Which heads (default: all).")] = None,
    pictures: Annotated[
        list[str] | None, typer.Option("--pictures", metavar="PATH", help="Pictures to compare on (default: parts of two photographs).")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Shape of all pictures that will come; litert and pt2 know one (default: square).")
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Convolutions in eight bits, calibrated on the pictures (onnx).")] = False,
    weights: Weights = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a model for onnxruntime, OpenVINO, phones or torch, if the file says what the model says on real pictures.

    Example: onelook export mine.onelook --to onnx --out mine.onnx --pictures photos/
    """
    from onelook.model import Model
    from onelook.workflows.export import TARGETS
    from onelook.workflows.export import export as export_model

    where = out or file.with_suffix(TARGETS[to.value].suffix)
    found = export_model(
        Model.load(file, weights=weights), to.value, where, heads=names(heads), pictures=pictures or (), size=_size(size), int8=int8,
        progress=progress(quiet),
    )  # fmt: skip
    for reason in found.compared.unreadable:
        sys.stderr.write(f"onelook: {reason}\n")
    shape = f"pictures of {found.shape[0]}x{found.shape[1]}" if found.shape else "pictures of any shape"
    bits = ""
    if found.int8:
        same = ", ".join(f"{name} {one['same_label']:.1%}" for name, one in found.int8["heads"].items() if one["same_label"] is not None)
        bits = f"; in eight bits {found.int8['times_as_fast']:.2f} times as fast, {found.int8['share_of_bytes']:.0%} of the bytes"
        bits += f", the same class: {same}" if same else ""
    done(
        f"{found.file}: {found.bytes / 1e6:.1f} MB for {to.value}, {shape}; on {found.compared.pictures} pictures it differs from the "
        f"model by {found.compared.largest:.1e} at most; {found.ms:.1f} ms a picture{bits}",
        found.to_json(), json, quiet,
    )  # fmt: skip


def _size(text: str | None) -> tuple[int, int] | None:
    """Width and height of "640x480". Raises OnelookError for anything else."""
    if text is None:
        return None
    from onelook.errors import OnelookError

    parts = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text)
    if parts is None or min(map(int, parts.groups())) < 1:
        raise OnelookError(f"--size {text}: not a size; use width x height, as in 640x480")
    return int(parts[1]), int(parts[2])
