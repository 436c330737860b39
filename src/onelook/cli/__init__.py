"""The command line: one file per command group, each a thin layer over a Python function of the same words.

User mistakes end in one line on stderr and exit code 2 (usage) or 3 (unreadable input); ``--debug`` (or ONELOOK_DEBUG=1)
shows the traceback. Results go to stdout, progress to stderr. Heavy imports happen inside the commands, so that
``onelook --help`` stays quick.
"""

import io
import os
import sys
import time
from typing import Any

import typer

from onelook.cli import (
    anatomy,
    bench,
    cache,
    compare,
    data,
    demo,
    doctor,
    explain,
    export,
    faces,
    head,
    info,
    inside,
    predict,
    serve,
    style,
    train,
    val,
    video,
)
from onelook.cli.hints import hint
from onelook.cli.interruption import signals_interrupt
from onelook.cli.options import Started
from onelook.errors import OnelookError

INTERRUPTED = 130


def make_app(heads: bool = True) -> typer.Typer:
    """The command line; ``heads``: whether ``train`` shows the options of all heads, for which their files are imported."""
    app = typer.Typer(
        name="onelook",
        help="One look, every answer: a pretrained CNN looks at a picture once, many small heads answer.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Example: onelook train photos/ --task classify --name kind --model mine.onelook --val 0.25",
    )
    app.command()(_whole(train.train, heads))
    app.command()(val.val)
    app.command()(predict.predict)
    app.command()(compare.compare)
    app.command()(info.info)
    app.command()(train.retrain)
    app.add_typer(data.app, name="data")
    app.add_typer(head.app, name="head")
    app.command()(head.merge)
    app.add_typer(faces.app, name="faces")
    app.command()(anatomy.anatomy)
    app.command()(inside.filters)
    app.command()(inside.patches)
    app.command()(inside.deconvnet)
    app.command()(explain.explain)
    app.add_typer(style.app, name="style")
    app.add_typer(cache.app, name="cache")
    app.add_typer(video.app, name="video")
    app.command()(export.export)
    app.command()(serve.serve)
    app.command()(bench.bench)
    app.command()(doctor.doctor)
    app.command()(demo.demo)
    return app


def _whole(command: Any, heads: bool) -> Any:
    if heads:
        from onelook.cli.head_options import with_head_options

        return with_head_options(command)

    def short() -> None:
        """Stands for the command in the list of commands."""

    short.__name__, short.__doc__ = command.__name__, command.__doc__
    return short


def __getattr__(name: str) -> Any:
    if name == "app":
        return make_app()
    raise AttributeError(name)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 0 (done), 1 (findings), 2 (usage), 3 (unreadable input) or 130 (interrupted)."""
    if arguments is None:
        arguments = sys.argv[1:]
    else:  # called by a program: its start and imports are not this command's
        Started.at = time.monotonic()
    debug = "--debug" in arguments or os.environ.get("ONELOOK_DEBUG") == "1"
    for stream in (sys.stdout, sys.stderr):  # a file name that the terminal's encoding lacks is written with escapes
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if "--version" in arguments:
        from onelook import __version__

        sys.stdout.write(f"onelook {__version__}\n")
        raise SystemExit(0)
    said = hint(arguments)
    if said:
        sys.stderr.write(f"onelook: {said}\n")
        raise SystemExit(2)
    try:
        with signals_interrupt():
            make_app(heads="train" in arguments)([argument for argument in arguments if argument != "--debug"])
    except OnelookError as error:
        if debug:
            raise
        sys.stderr.write(f"onelook: {error}\n")
        raise SystemExit(error.exit_code) from None
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer turns Ctrl-C into this
            sys.stderr.write("onelook: interrupted; what was saved is still there, and looks made so far will be used again\n")
        raise
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(0) from None
    except OSError as error:  # a folder that cannot be written, a path that is too long
        if debug:
            raise
        sys.stderr.write(f"onelook: {error.filename or 'the system'}: {error.strerror or error}\n")
        raise SystemExit(2) from None
