"""
The command line: one file a command, imported when it is asked for.

Results go to stdout (``--json``: one document), logs and progress to stderr. Exit codes: 0 good, 1 a gate failed, 2
usage, 3 the validation run failed, 4 the environment lacks something required, 5 undecided, 130 interrupted.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence
from enum import IntEnum

from jitwarmup import __version__
from jitwarmup.cli.terminal import Parser
from jitwarmup.records.errors import JitwarmupError, RankFailed

COMMANDS = {
    "demo": "the main job on a real language model: validate, warm up in silence, measure, log",
    "measure": "the whole plan on any function: package.module:function",
    "compare": "two saved measurements, with gates for a build",
    "report": "saved measurements as one self-contained page",
    "schema": "the JSON Schema of the events",
    "doctor": "what can be watched here, and what would spoil a measurement",
    "sweep": "many configurations of one generation: each validated first, saved at once, resumed by a rerun",
}


class Exit(IntEnum):
    """What the exit code says."""

    GOOD = 0
    GATE = 1
    USAGE = 2
    VALIDATION = 3
    ENVIRONMENT = 4
    UNDECIDED = 5
    INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the words of the command line and carry the command out."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(prog="jitwarmup", description="Timings of (text-)generation code made true.")
    parser.add_argument("--version", action="version", version=f"jitwarmup {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, about in COMMANDS.items():
        commands.add_parser(name, help=about, add_help=False)
    asked, rest = parser.parse_known_args(words)
    for stream in (sys.stdout, sys.stderr):  # a character that a terminal does not know is no reason to fail
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    module = importlib.import_module(f"jitwarmup.cli.{asked.command}")
    try:
        code = int(module.run(rest))
        print(end="", flush=True)  # a reader that left is met here, not at the interpreter's exit
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return Exit.INTERRUPTED
    except JitwarmupError as error:
        print(f"jitwarmup {asked.command}: {error}", file=sys.stderr)
        return Exit.ENVIRONMENT if isinstance(error, RankFailed) else Exit.USAGE
    except OSError as error:  # of stdout: every other file has its own ArgumentError
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what waits to be written is given up
        if isinstance(error, BrokenPipeError):
            return Exit.GOOD  # the reader left
        print(f"jitwarmup {asked.command}: cannot write the result: {error.strerror}", file=sys.stderr)
        return Exit.USAGE
    return code
