"""A comparison and its gates in words: for the terminal and for a build page."""

from __future__ import annotations

from collections.abc import Sequence

from jitwarmup.analysis.compare import Comparison, Ratio
from jitwarmup.analysis.gates import Judged, percent
from jitwarmup.records.text import shortened
from jitwarmup.records.units import span
from jitwarmup.views.markdown import md_table, safe
from jitwarmup.views.text import Paint, columns, folded, plain

NAMES = {
    "cold": "cold",
    "first": "first after ready",
    "steady": "steady",
    "first_item": "first item",
    "item_gap": "gap between items",
}


def verdict_words(ratio: Ratio) -> str:
    """What is called, and why not where it is not."""
    if ratio.method == "single":
        return "one run each: no interval"
    if ratio.verdict == "unknown":
        return f"too few ({ratio.n})" if ratio.method != "absent" else "one side is absent"
    return "no difference" if ratio.verdict == "same" else ratio.verdict


def rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """The table: metric, A, B, change, interval, what is called."""
    found: list[tuple[str, ...]] = [("", "A", "B", "change", "interval", "")]
    for ratio in comparison.ratios:
        between = "-" if ratio.low is None else f"{percent(ratio.low)} to {percent(ratio.high)}"
        name = NAMES.get(ratio.metric, ratio.metric)
        found.append((name, span(ratio.a_s), span(ratio.b_s), percent(ratio.ratio), between, verdict_words(ratio)))
    for kind, (was, now) in (comparison.compiles or {}).items():
        found.append((kind, str(was), str(now), f"{now - was:+d}", "", "more compiles" if now > was else ""))
    return found


def remarks(comparison: Comparison) -> list[str]:
    """What a reader has to know about how fair it is."""
    found = []
    if comparison.interleaved:
        found.append(
            "both sides were run in turn in one process; A was the first to run, so its cold run paid for what they share"
        )
    elif max(comparison.processes) == 1:
        found.append(
            "one process each, not run in turn: another process, or the host, may differ by more than the interval; "
            "fairer: jitwarmup measure B --against A, or several saved processes a side"
        )
    if comparison.compiles is None:
        found.append("compiles were not watched on both sides, so they are not compared")
    return found


def comparison_text(comparison: Comparison, judged: Sequence[Judged], width: int = 80, paint: Paint = plain) -> str:
    """The comparison for a terminal."""
    half = max(10, (width - 12) // 2)
    title = f"A {shortened(comparison.a, half)}, B {shortened(comparison.b, half)}"
    lines = [paint(title, "title"), *fitting(rows(comparison), width)]
    for remark in remarks(comparison):
        lines += [paint(line, "advice") for line in folded(remark, width)]
    for one in judged:
        state = "failed" if one.failed else "passed"
        lines += [paint(line, state) for line in folded(f"gate {state}: {one.words}", width)]
    return "\n".join(lines)


def fitting(found: Sequence[Sequence[str]], width: int) -> list[str]:
    """The table; where it is too wide, without the column of intervals, and then line by line."""
    for table in (found, [[*row[:4], *row[5:]] for row in found]):
        lines = columns(table, 10_000)
        if max(map(len, lines)) <= width:
            return lines
    return columns([row[:4] for row in found], width)


def comparison_markdown(comparison: Comparison, judged: Sequence[Judged]) -> str:
    """The comparison for a build page."""
    parts = [f"### {safe(comparison.b)} against {safe(comparison.a)}\n"]
    head, *body = rows(comparison)
    parts.append(md_table(head, body))
    parts += [f"- {'**failed**' if one.failed else 'passed'}: {safe(one.words)}" for one in judged]
    parts += [f"- {safe(remark)}" for remark in remarks(comparison)]
    return "\n".join(parts) + "\n"
