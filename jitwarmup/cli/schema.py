"""``jitwarmup schema``: the JSON Schema of the events (``jitwarmup/1``), for whoever reads the log."""

from __future__ import annotations

import json
from collections.abc import Sequence

from jitwarmup.cli.terminal import Parser


def parser() -> Parser:
    """The words of the command."""
    words = Parser(prog="jitwarmup schema", description=__doc__)
    words.add_argument("--json", action="store_true", help="on one line")
    words.add_argument("--table", action="store_true", help="the table of events as Markdown")
    return words


def run(argv: Sequence[str]) -> int:
    """Print the schema."""
    from jitwarmup.cli import Exit
    from jitwarmup.events.schema import json_schema, readme_table

    asked = parser().parse_args(argv)
    print(readme_table() if asked.table else json.dumps(json_schema(), indent=None if asked.json else 1))
    return Exit.GOOD
