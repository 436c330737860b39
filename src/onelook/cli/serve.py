"""``onelook serve``: models behind an address of this machine."""

from pathlib import Path
from typing import Annotated

import typer

from onelook.cli.options import Device, DeviceOption, Json, Quiet, Weights, emit, names, say


def serve(
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILE...", help=".onelook files (default: the ImageNet head).")] = None,
    host: Annotated[str, typer.Option(help="Which address; others than this machine's need --token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Which port (0: a free one).")] = 8000,
    token: Annotated[str | None, typer.Option(envvar="ONELOOK_TOKEN", metavar="TEXT", help="What requests must bear.")] = None,
    heads: Annotated[str | None, typer.Option("--heads", metavar="A,B", help="Which heads may be asked (default: all).")] = None,
    queue: Annotated[int, typer.Option(min=1, max=10_000, help="Pictures that may wait; more are refused with 429.")] = 64,
    megabytes: Annotated[float, typer.Option(min=0.001, max=2000, help="Of a request, at most.")] = 20.0,
    megapixels: Annotated[float, typer.Option(min=0.001, max=178, help="Of a picture, at most.")] = 50.0,
    timeout: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds in which a request must have come and be answered.")] = 30.0,
    weights: Weights = None,
    device: DeviceOption = Device.auto,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Answer over HTTP: pictures in, JSON out; a page to drop pictures on; models are loaded again when their files change.

    Example: onelook serve mine.onelook --port 8000
    """
    from importlib.util import find_spec

    from onelook.errors import OnelookError

    missing = [name for name in ("starlette", "uvicorn", "python_multipart", "prometheus_client") if find_spec(name) is None]
    if missing:
        raise OnelookError(f"serve needs {', '.join(missing)}: pip install 'onelook[serve]'")
    from onelook.serve.app import Limits
    from onelook.serve.run import Server

    server = Server(
        files or [], host=host, port=port, heads=names(heads), token=token, weights=weights, device=device.value, most_waiting=queue,
        megapixels=megapixels, limits=Limits(megabytes=megabytes, seconds=timeout),
    )  # fmt: skip

    def ready() -> None:
        if json:
            emit({"address": server.address, **server.describe()})
        elif not quiet:
            say(f"{server.address} answers for {', '.join(server.pool.asker.heads)}; Ctrl-C ends it")

    try:
        server.run(ready)
    except KeyboardInterrupt:  # uvicorn has stopped by then, and hands the signal on
        if not quiet and not json:
            say("stopped; all that had been asked was answered")
