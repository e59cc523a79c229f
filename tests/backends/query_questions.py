"""``python query_questions.py duckdb|chdb EVENTS EXAMPLES``: the rows that answer each question, by its name, as JSON."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def questions(examples: Path) -> dict[str, str]:
    """Each question's SQL, by its name."""
    found = {}
    for part in (examples / "questions.sql").read_text().split("\n-- ")[1:]:
        name, _, rest = part.partition(":")
        found[name] = rest.partition("\n")[2].strip().removesuffix(";")
    return found


def views(engine: str, examples: Path, events: str) -> list[str]:
    """The statements that make the views, over a file of this name."""
    text = (examples / f"events_{engine}.sql").read_text()
    return [part for part in text.replace("'events.jsonl'", f"'{events}'").split(";\n") if part.strip()]


def in_duckdb(make: list[str]) -> Callable[[str], Rows]:
    """A function that asks duckdb."""
    import duckdb

    db = duckdb.connect()
    for statement in make:
        db.execute(statement)

    def ask(question: str) -> Rows:
        rows = db.execute(question).fetchall()
        names = [column[0] for column in db.description or ()]
        return [dict(zip(names, row, strict=True)) for row in rows]

    return ask


def in_chdb(make: list[str]) -> Callable[[str], Rows]:
    """A function that asks ClickHouse in this process."""
    from chdb.session import Session

    db = Session()
    for statement in make:
        db.query(statement)

    def ask(question: str) -> Rows:
        answer = str(db.query(f"{question} settings output_format_json_quote_64bit_integers = 0", "JSONEachRow"))
        return [json.loads(line) for line in answer.splitlines()]

    return ask


if __name__ == "__main__":
    engine, events, examples = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    ask = {"duckdb": in_duckdb, "chdb": in_chdb}[engine](views(engine, examples, events))
    json.dump({name: ask(question) for name, question in questions(examples).items()}, sys.stdout)
