"""Numbers with units, for people, and plain text and tables that keep to a width."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from jitwarmup.records.text import shortened

Paint = Callable[[str, str], str]  # (text, what it is) -> text; see `plain`


def plain(text: str, _kind: str) -> str:
    """No color."""
    return text


def share(part: float, whole: float) -> str:
    """A share in percent; a dash of nothing."""
    return f"{part / whole:.1%}" if whole > 0 else "-"


def columns(rows: Sequence[Sequence[str]], width: int = 80) -> list[str]:
    """Lines of a table whose first column is flush left, the others right; a last column that is too long is wrapped."""
    rows = [[shortened(cell) for cell in row] for row in rows]
    wide = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [f"{row[0]:{wide[0]}}", *(f"{cell:>{wide[at]}}" for at, cell in enumerate(row[1:], 1))]
        line = "  ".join(cells).rstrip()
        lines += [line] if len(line) <= width else folded(line, width, indent=wide[0] + 2)
    return lines


def folded(text: str, width: int, indent: int = 2) -> list[str]:
    """Text in lines of at most ``width`` characters, all but the first indented."""
    pad = " " * min(indent, width // 2)
    return textwrap.wrap(shortened(text), max(20, width), subsequent_indent=pad, break_on_hyphens=False) or [""]
