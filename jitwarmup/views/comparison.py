"""A comparison and its gates in words: for the terminal and for a build page."""

from __future__ import annotations

from collections.abc import Sequence

from jitwarmup.analysis.compare import Comparison, Ratio
from jitwarmup.analysis.gates import Judged, because, percent
from jitwarmup.analysis.resampling import RUNS
from jitwarmup.records.text import shortened
from jitwarmup.records.units import span
from jitwarmup.views.markdown import md_table, safe
from jitwarmup.views.text import Paint, columns, folded, plain

NAMES = {
    "cold": "cold",
    "first": "first after ready",
    "steady": "steady, wall time",
    "own_time": "steady, own time",
    "cpu": "steady, CPU time",
    "first_item": "first item",
    "item_gap": "gap between items",
}
BRIEFLY = {"absent": "one side is absent", "single": "one run each", "few": "too few", "processes": "too few processes"}


def verdict_words(ratio: Ratio) -> str:
    """What is called, and why not where it is not."""
    if ratio.verdict == "undecided":
        why = BRIEFLY.get(ratio.why)
        return f"undecided ({why})" if why is not None else "undecided"
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


def environments(comparison: Comparison) -> list[str]:
    """What differs between the environments, and what that means; nothing where they are alike."""
    if not comparison.differs:
        return []
    each = [f"{one.name} {one.a or 'none'} | {one.b or 'none'}" for one in comparison.differs]
    found = [f"the environments differ (A | B): {'; '.join(each)}"]
    if comparison.refused:
        found.append("so nothing is called: any of it may move times; --allow-different-host calls it all the same")
    return found


def remarks(comparison: Comparison) -> list[str]:
    """What a reader has to know about how fair it is."""
    found = []
    steady, own = comparison.of("steady"), comparison.of("own_time")
    if steady.why in ("disagree", "busy", "noise", "alike", "own_time"):
        found.append(f"{steady.verdict}: {because(steady, comparison.processes)}")
    if own.ratio is not None:
        found.append(
            "wall time is called; own time is wall time less waiting for a CPU that others held, and where the two "
            "disagree nothing is called"
        )
    if comparison.interleaved:
        found.append(
            "both sides were run in turn in one process; A was the first to run, so its cold run paid for what they share"
        )
    elif max(comparison.processes) == 1:
        found.append(
            f"one process each, not run in turn: another process may differ by as much; wanted {RUNS} a side "
            f"(jitwarmup measure --processes {RUNS} --save FILE), or both in turn (jitwarmup measure B --against A)"
        )
    if comparison.compiles is None:
        found.append("compiles were not watched on both sides, so they are not compared")
    return found


def comparison_text(comparison: Comparison, judged: Sequence[Judged], width: int = 80, paint: Paint = plain) -> str:
    """The comparison for a terminal."""
    half = max(10, (width - 12) // 2)
    title = f"A {shortened(comparison.a, half)}, B {shortened(comparison.b, half)}"
    lines = [paint(title, "title")]
    for line in environments(comparison):
        lines += [paint(part, "warn") for part in folded(line, width)]
    lines += fitting(rows(comparison), width)
    for remark in remarks(comparison):
        lines += [paint(line, "advice") for line in folded(remark, width)]
    for one in judged:
        lines += [paint(line, one.outcome) for line in folded(f"gate {one.outcome}: {one.words}", width)]
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
    parts += [f"**{safe(line)}**\n" for line in environments(comparison)]
    head, *body = rows(comparison)
    parts.append(md_table(head, body))
    parts += [
        f"- {one.outcome if one.outcome == 'passed' else f'**{one.outcome}**'}: {safe(one.words)}" for one in judged
    ]
    parts += [f"- {safe(remark)}" for remark in remarks(comparison)]
    return "\n".join(parts) + "\n"
