"""The command line: one file per command group, each a thin layer over a Python function of the same words.

User mistakes end in one line on stderr and exit code 2 (usage) or 3 (unreadable input); ``--debug`` (or ONELOOK_DEBUG=1)
shows the traceback. Results go to stdout, progress to stderr. Heavy imports happen inside the commands, so that
``onelook --help`` stays quick.
"""

import os
import sys

import typer

from onelook.cli import bench, cache, compare, data, demo, doctor, info, predict, train
from onelook.errors import OnelookError

INTERRUPTED = 130

app = typer.Typer(
    name="onelook",
    help="One look, every answer: a pretrained CNN looks at a picture once, many small heads answer.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: onelook train photos/ --task classify --name kind --model mine.onelook --val 0.25",
)
app.command()(train.train)
app.command()(train.val)
app.command()(predict.predict)
app.command()(compare.compare)
app.command()(info.info)
app.command()(train.retrain)
app.add_typer(data.app, name="data")
app.add_typer(cache.app, name="cache")
app.command()(bench.bench)
app.command()(doctor.doctor)
app.command()(demo.demo)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 0 (done), 1 (findings), 2 (usage), 3 (unreadable input) or 130 (interrupted)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments or os.environ.get("ONELOOK_DEBUG") == "1"
    try:
        app([argument for argument in arguments if argument != "--debug"])
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
