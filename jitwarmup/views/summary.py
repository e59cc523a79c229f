"""The figures of one report that every view shows, and the plain-text summary of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from jitwarmup.records.report import Report
from jitwarmup.records.runs import Run
from jitwarmup.views.reasons import words
from jitwarmup.views.text import columns, folded, share, shortened, span

Paint = Callable[[str, str], str]  # (text, what it is) -> text; see `plain`
Figure = tuple[str, str]
FEW_RANKS = 8  # that are shown one by one


def plain(text: str, _kind: str) -> str:
    """No colour."""
    return text


def figures(report: Report) -> list[Figure]:
    """What came out, in numbers: name and value."""
    cold, steady = report.validation, report.latency
    warm_s = sum(run.duration_s for run in report.warmup)
    found = [
        ("cold run (validation)", span(cold.duration_s if cold is not None else None)),
        (f"warm-up, {len(report.warmup)} silent runs", span(warm_s if report.warmup else None)),
        (f"steady median of {steady.n} clean runs", span(steady.median_s)),
    ]
    if steady.ci_low_s is not None and steady.ci_level is not None:
        found.append((f"  its {steady.ci_level:.1%} interval", f"{span(steady.ci_low_s)} to {span(steady.ci_high_s)}"))
    marked = sum(run.contaminated for run in report.measured)
    if marked:
        found.append(
            (f"median of all {report.latency_all.n}, {marked} of them contaminated", span(report.latency_all.median_s))
        )
    if cold is not None and steady.median_s:
        found.append(("speed-up, cold to steady", f"{cold.duration_s / steady.median_s:.4g} x"))
    return [*found, *stream_figures(report), *break_even_figures(report), *rank_figures(report)]


def stream_figures(report: Report) -> list[Figure]:
    """Of a stream: first item, gap, rate."""
    found = []
    if report.first_item is not None:
        found.append(("first item, median", span(report.first_item.median_s)))
    if report.item_gap is not None:
        found.append(("gap between items, median", span(report.item_gap.median_s)))
    if report.items_per_s is not None:
        found.append(("items per second", f"{report.items_per_s:.4g}"))
    return found


def rank_figures(report: Report) -> list[Figure]:
    """Of several ranks in step: who is slow, by how much, and each one's time while they are few."""
    ranks = report.ranks
    if ranks is None or ranks.straggler is None:
        return []
    times = list(zip(ranks.members, ranks.median_s, strict=True))
    each = [(f"  rank {rank}, median", span(seconds)) for rank, seconds in times] if len(times) <= FEW_RANKS else []
    return [
        (f"{len(times)} ranks in step, slowest", f"rank {ranks.straggler} ({ranks.straggler_share:.0%})"),
        ("  slowest minus fastest, median", span(ranks.skew_s)),
        *each,
    ]


def break_even_figures(report: Report) -> list[Figure]:
    """After how many calls the cold cost hardly matters."""
    calls = calls_until_small(report)
    return [] if calls is None else [("calls until the cold cost is under 1%", f"{calls:,}")]


def calls_until_small(report: Report, part: float = 0.01) -> int | None:
    """Calls over which the cold cost adds less than ``part`` to a call; None where no steady time is known."""
    steady, one = report.latency_s, report.amortised(1)
    if steady is None or one is None or steady <= 0:
        return None
    return max(1, math.ceil((one - steady) / (part * steady)))


def causes(report: Report) -> list[tuple[str, float]]:
    """The ledger, the dearest cause first; nothing of what cost nothing."""
    return sorted(((cause, s) for cause, s in report.ledger.items() if s > 0), key=lambda item: -item[1])


def findings(report: Report) -> list[tuple[str, str]]:
    """The verdict's reasons in words with their way out, each once."""
    return list(dict.fromkeys(words(reason) for reason in report.verdict.reasons))


def headline(report: Report) -> str:
    """What happened, in one line without the function's name."""
    if report.failure is not None:
        failure = report.failure
        where = "" if failure.rank is None else f" on rank {failure.rank}"
        return f"failed in {failure.phase} run {failure.index + 1}{where} with {failure.type}"
    return f"{report.verdict.state}" + (f" ({report.verdict.label})" if report.verdict.label else "")


def summary(report: Report, width: int = 80, paint: Paint = plain) -> str:
    """The final table of a measurement: figures, ledger by cause, verdict with reasons and what to do next."""
    lines = [paint(shortened(report.callable, width), "title"), *columns(figures(report), width)]
    spent = causes(report)
    if spent:
        whole = sum(seconds for _, seconds in spent)
        rows = [(f"  {cause}", span(seconds), share(seconds, whole)) for cause, seconds in spent]
        lines += ["", paint("cold and warm-up time by cause", "title"), *columns(rows, width)]
    return "\n".join([*lines, "", *verdict_lines(report, width, paint)])


def verdict_lines(report: Report, width: int, paint: Paint) -> list[str]:
    """The verdict, its reasons, and what to do next."""
    state = "failed" if report.failure is not None else report.verdict.state
    lines = [paint(line, state) for line in folded(f"verdict {headline(report)}", width)]
    if report.failure is not None and report.failure.message:
        lines += folded(f"  {report.failure.type}: {report.failure.message}", width, indent=4)
    for found, way_out in findings(report):
        lines += folded(f"  - {found}", width, indent=4)
        lines += [paint(line, "advice") for line in folded(f"    next: {way_out}", width, indent=10)] if way_out else []
    return lines


def run_rows(report: Report) -> list[Sequence[str]]:
    """Every run: phase, number, time, what was special about it."""
    return [(run.phase.value, str(run.index + 1), span(run.duration_s), "; ".join(notes(run))) for run in report.runs]


def notes(run: Run) -> list[str]:
    """What was special about a run, in words."""
    found = ["contaminated"] if run.contaminated else []
    found += ["discarded"] if run.discarded else []
    found += [] if run.outcome == "ok" else [run.error_type or run.outcome]
    for work in run.work:
        if work.recurrence == "one_time":
            times = f" x{work.count}" if work.count > 1 else ""
            took = f" {span(work.duration_s)}" if work.duration_s else ""
            whose = "" if work.scope == "own" else f" ({work.scope})"
            where = "" if work.rank is None else f" on rank {work.rank}"
            found.append(f"{work.kind}{times}{took}{whose}{where}")
    return found
