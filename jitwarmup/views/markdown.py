"""A summary for a build page: GitHub's Markdown, without pictures or scripts, each report a few kilobytes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from jitwarmup.records.report import Report
from jitwarmup.records.text import shortened
from jitwarmup.records.units import span
from jitwarmup.views.summary import causes, figures, findings, verdict_words
from jitwarmup.views.text import share

BARS = "▁▂▃▄▅▆▇█"
MOST_BARS = 60


def safe(text: str) -> str:
    """Text that stays text in a cell: no markup, no new cell, no new line."""
    flat = re.sub(r" +", " ", shortened(text)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|#!~$@])", r"\\\1", flat)


def md_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table: the first column left, the others right."""
    marks = ["---", *(["---:"] * (len(head) - 1))]
    lines = [head, marks, *[[safe(cell) for cell in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def report_markdown(report: Report) -> str:
    """One report: figures, the curve in characters, the ledger and the verdict."""
    parts = [f"### {safe(report.callable)}: {safe(verdict_words(report))}\n", md_table(("", "value"), figures(report))]
    if len(report.runs) > 1:
        parts.append(f"runs, logarithmic: `{bars([run.duration_s for run in report.runs])}`\n")
    spent = causes(report)
    if spent:
        whole = sum(seconds for _, seconds in spent)
        rows = [(cause, span(seconds), share(seconds, whole)) for cause, seconds in spent]
        table = md_table(("cause", "time", "share"), rows)
        parts.append(f"<details><summary>cold and warm-up time by cause</summary>\n\n{table}\n</details>\n")
    parts += [
        f"- {safe(found)}" + (f" (next: {safe(way_out)})" if way_out else "") for found, way_out in findings(report)
    ]
    return "\n".join(parts) + "\n"


def bars(values: Sequence[float]) -> str:
    """A series as characters, on a logarithmic scale; of a long one the beginning."""
    logs = [math.log(max(value, 1e-12)) for value in values[:MOST_BARS]]
    low, high = min(logs), max(logs)
    step = (high - low) / (len(BARS) - 1) or 1.0
    return "".join(BARS[round((value - low) / step)] for value in logs) + ("..." if len(values) > MOST_BARS else "")
