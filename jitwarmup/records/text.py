"""
Text that came from elsewhere (names, reasons, messages), made fit for people: one printable line of a bounded length.

Every text for a terminal, a log line, Markdown or a page passes here: a terminal obeys control characters, a line end
forges a line, and a bidirectional override reads as what it is not.
"""

from __future__ import annotations

from itertools import groupby

MOST = 2_000  # characters of one line that people read


def one_line(text: str) -> str:
    """The text with all that is not printable (line ends, controls, lone surrogates) turned into a space, a run into one."""
    if text.isprintable():
        return text
    return "".join("".join(run) if printable else " " for printable, run in groupby(text, str.isprintable))


def shortened(text: str, width: int = MOST) -> str:
    """One line that fits: the middle goes first, since of a name both module and function matter."""
    if len(text) > width:
        keep = max(1, width - 3)
        text = f"{text[: keep // 2]}...{text[len(text) - (keep - keep // 2) :]}"
    return one_line(text)
