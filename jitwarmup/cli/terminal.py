"""How wide the terminal is, whether it wants color, and where the result goes."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from jitwarmup.records.errors import ArgumentError
from jitwarmup.views.text import Paint, plain

WIDEST = 120  # longer lines are hard to read, however wide the terminal
GREEN, YELLOW, RED = "32", "33", "31"
COLORS = {
    "title": "1",
    "advice": "2",
    **dict.fromkeys(("steady", "faster", "passed"), GREEN),
    **dict.fromkeys(("unsteady", "undecided", "warn"), YELLOW),
    **dict.fromkeys(("contaminated", "degraded", "invalid", "failed", "slower"), RED),
}


def width() -> int:
    """Columns to fill: of the terminal, at most `WIDEST`; piped, what ``COLUMNS`` says or 80."""
    try:
        found = os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 0
    except (OSError, ValueError):  # no file behind it
        found = 0
    return max(40, min(WIDEST, found or shutil.get_terminal_size((80, 24)).columns))


def painter(asked: argparse.Namespace) -> Paint:
    """Color where stdout is a terminal, unless ``NO_COLOR`` (no-color.org) or ``--no-color`` says no."""
    refused = asked.no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return painted if sys.stdout.isatty() and not refused else plain


def painted(text: str, kind: str) -> str:
    """Text in the color of what it is."""
    code = COLORS.get(kind)
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def command(name: str, about: str | None, *, markdown: bool = True) -> argparse.ArgumentParser:
    """The words of a command: those that all share, to which it adds its own."""
    words = argparse.ArgumentParser(prog=f"jitwarmup {name}", description=about)
    words.add_argument("--json", action="store_true", help="print one JSON document in place of the text")
    words.add_argument("--no-color", action="store_true", help="no color, as NO_COLOR=1 does it")
    if markdown:
        about_file = 'append a summary as Markdown, e.g. to "$GITHUB_STEP_SUMMARY"'
        words.add_argument("--markdown", metavar="FILE", help=about_file)
    return words


def positive(text: str) -> int:
    """A whole number of at least 1, from the command line."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"got {number}, wanted 1 or more")
    return number


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
