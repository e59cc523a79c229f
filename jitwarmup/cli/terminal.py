"""How wide the terminal is, whether it wants color, and where the result goes."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

from jitwarmup.events.sinks import configure_json
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.files import read_text
from jitwarmup.records.text import shortened
from jitwarmup.views.text import Paint, plain

T = TypeVar("T")
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
    except (AttributeError, OSError, ValueError):  # no file behind it
        found = 0
    return max(40, min(WIDEST, found or shutil.get_terminal_size((80, 24)).columns))


def choose_log() -> None:
    """Events as JSON lines where stderr is no terminal, in every command; as short lines where somebody reads along."""
    if sys.stderr is not None and not sys.stderr.isatty():
        configure_json()


def painter(asked: argparse.Namespace) -> Paint:
    """Color where stdout is a terminal, unless ``NO_COLOR`` (no-color.org) or ``--no-color`` says no."""
    refused = asked.no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return painted if sys.stdout is not None and sys.stdout.isatty() and not refused else plain


def painted(text: str, kind: str) -> str:
    """Text in the color of what it is."""
    code = COLORS.get(kind)
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


class Parser(argparse.ArgumentParser):
    """Parses the words of a command; what it refuses is one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {shortened(message)}; see {self.prog} --help\n")


def command(name: str, about: str | None, *, markdown: bool = True) -> Parser:
    """The words of a command: those that all share, to which it adds its own."""
    words = Parser(prog=f"jitwarmup {name}", description=about)
    words.add_argument("--json", action="store_true", help="print one JSON document in place of the text")
    words.add_argument("--no-color", action="store_true", help="no color, as NO_COLOR=1 does it")
    if markdown:
        about_file = 'append a summary as Markdown, e.g. to "$GITHUB_STEP_SUMMARY"'
        words.add_argument("--markdown", metavar="FILE", help=about_file)
    return words


def with_messages(words: Parser) -> None:
    """For a command that shows reports: that they hold messages, and the way to leave them out."""
    words.epilog = "A report holds the message and traceback of an exception, which may show the function's own data."
    about = "leave an exception's message and traceback out of all that is shown and written"
    words.add_argument("--no-messages", dest="messages", action="store_false", help=about)


def positive(text: str) -> int:
    """A whole number of at least 1, from the command line."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"got {number}, wanted 1 or more")
    return number


def read(path: str, meaning: Callable[[str], T]) -> T:
    """
    What a file's text means; ``-`` is stdin. Bytes that are no UTF-8 spoil their own line only.

    Raises ArgumentError with the file's name where it cannot be read or means nothing.
    """
    if path == "-":
        data = sys.stdin.buffer.read() if sys.stdin is not None else b""
        text = data.decode("utf-8-sig", "surrogateescape")
    else:
        text = read_text(path, errors="surrogateescape")
    try:
        return meaning(text)
    except ArgumentError as error:
        raise ArgumentError(f"{path}: {error}") from error
