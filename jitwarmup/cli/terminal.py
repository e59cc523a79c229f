"""How wide the terminal is, whether it wants color, and where the result goes."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TextIO

from jitwarmup.records.errors import ArgumentError
from jitwarmup.views.summary import Paint, plain

WIDEST = 120  # longer lines are hard to read, however wide the terminal
COLORS = {
    "title": "1",
    "advice": "2",
    "steady": "32",
    "faster": "32",
    "passed": "32",
    "unsteady": "33",
    "undecided": "33",
    "warn": "33",
    "contaminated": "31",
    "degraded": "31",
    "invalid": "31",
    "failed": "31",
    "slower": "31",
}


def width(out: TextIO | None = None) -> int:
    """Columns to fill: of the terminal, at most `WIDEST`; piped, what ``COLUMNS`` says or 80."""
    stream = out if out is not None else sys.stdout
    try:
        found = os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):  # no file behind it
        found = 0
    return max(40, min(WIDEST, found or shutil.get_terminal_size((80, 24)).columns))


def painter(asked: argparse.Namespace, out: TextIO | None = None) -> Paint:
    """Color where stdout is a terminal, unless ``NO_COLOR`` (no-color.org) or ``--no-color`` says no."""
    return painted if wants_color(asked, out if out is not None else sys.stdout) else plain


def wants_color(asked: argparse.Namespace, stream: TextIO) -> bool:
    """Whether color is wanted on a stream."""
    dumb = os.environ.get("TERM") == "dumb"
    return not (asked.no_color or os.environ.get("NO_COLOR") or dumb or not stream.isatty())


def painted(text: str, kind: str) -> str:
    """Text in the color of what it is."""
    code = COLORS.get(kind)
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def add_output(words: argparse.ArgumentParser, *, markdown: bool = True) -> None:
    """The words that all commands share."""
    words.add_argument("--json", action="store_true", help="print one JSON document in place of the text")
    words.add_argument("--no-color", action="store_true", help="no color, as NO_COLOR=1 does it")
    if markdown:
        words.add_argument(
            "--markdown", metavar="FILE", help='append a summary as Markdown, e.g. to "$GITHUB_STEP_SUMMARY"'
        )


def read(path: str) -> str:
    """A file's text; ``-`` is stdin. Raises ArgumentError where it cannot be read."""
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"cannot read {path}: {type(error).__name__}; wanted a file that can be read") from error


def write(path: str, text: str, *, append: bool = False) -> None:
    """Write a file, whole or at its end. Raises ArgumentError where it cannot be written."""
    try:
        with Path(path).open("a" if append else "w", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise ArgumentError(f"cannot write {path}: {error.strerror}; wanted a file in a folder that exists") from error
