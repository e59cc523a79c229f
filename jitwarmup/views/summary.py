"""
A report in words: the figures that every view shows, and the text made of them.

Every line is data of the report; nothing is measured or guessed here. Runs are numbered by their index, from 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from jitwarmup.records.report import Report
from jitwarmup.records.runs import OneTimeWork, Run
from jitwarmup.records.text import shortened
from jitwarmup.records.units import span
from jitwarmup.views.advice import about_work, words
from jitwarmup.views.text import Paint, columns, folded, plain, share

Figure = tuple[str, str]
FEW_RANKS = 8  # that are shown one by one
TINY = 0.005  # share of the cold seconds below which a cause gets no advice
OVERHEAD = 0.01  # share of a run from which on it is shown what the timing itself adds
MARKED = 5  # contaminated runs shown one by one


def figures(report: Report) -> list[Figure]:
    """What came out, in numbers: name and value."""
    steady = report.latency
    warm_s = sum(run.duration_s for run in report.warmup)
    found = [
        (
            "cold run (validation)" if report.first_run is None else "cold run (the first of this key, earlier)",
            "was warm before" if report.warm_before else span(report.cold_s),
        ),
        (f"warm-up, {len(report.warmup)} silent runs", span(warm_s if report.warmup else None)),
        (f"steady median of {steady.n} clean runs", span(steady.median_s)),
    ]
    if steady.ci_low_s is not None and steady.ci_level is not None:
        found.append((f"  its {steady.ci_level:.1%} interval", f"{span(steady.ci_low_s)} to {span(steady.ci_high_s)}"))
    found += times(report)
    marked = sum(run.contaminated for run in report.measured)
    if marked:
        found.append(
            (f"median of all {report.latency_all.n}, {marked} of them contaminated", span(report.latency_all.median_s))
        )
    if report.speedup is not None:
        found.append(("speed-up, cold to steady", f"{report.speedup:.4g} x"))
    if report.first_item is not None:
        found.append(("first item, median", span(report.first_item.median_s)))
    if report.item_gap is not None:
        found.append(("gap between items, median", span(report.item_gap.median_s)))
    if report.items_per_s is not None:
        found.append(("items per second", f"{report.items_per_s:.4g}"))
    calls = calls_until_small(report)
    if calls is not None:
        found.append(("calls until the cold cost is under 1%", f"{calls:,}"))
    return [*found, *rank_figures(report)]


def times(report: Report) -> list[Figure]:
    """The other times of the same runs beside their wall time, what the timing adds, and the medians of other processes."""
    found = []
    if report.own_time is not None and report.latency.median_s != report.own_time.median_s:
        found.append(("  own time, without waiting for others", span(report.own_time.median_s)))
    if report.cpu is not None:
        found.append(("  CPU time, all threads", span(report.cpu.median_s)))
    if report.overhead_s is not None and report.overhead_s > OVERHEAD * (report.latency.median_s or math.inf):
        found.append(("  of the wall time, the timing itself adds", span(report.overhead_s)))
    if (processes := report.processes) is not None:
        found.append((f"median of {processes.n} processes", span(processes.median_s)))
        if processes.ci_low_s is not None:
            found.append(("  its interval", f"{span(processes.ci_low_s)} to {span(processes.ci_high_s)}"))
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
    causes: dict[str | None, list[str]] = {}
    for work in (work for run in report.measured for work in run.work if work.reason):
        causes.setdefault(work.kind, []).append(work.reason or "")
    return list(dict.fromkeys(words(reason, causes.get(reason.subject, ())) for reason in report.verdict.reasons))


def headline(report: Report) -> str:
    """What came out, in one line without the function's name."""
    failure = report.failure
    if failure is not None:
        where = "" if failure.rank is None else f" on rank {failure.rank}"
        return f"failed in {failure.phase} run {failure.index}{where} with {failure.type}"
    if report.latency_s is None:
        return "nothing was measured"
    line = f"{span(report.latency_s)} a run at the median"
    if not report.latency.n:
        return f"{line}; no run was free of one-time work"
    line += f" of {report.latency.n} clean runs"
    low, high, level = report.latency.ci_low_s, report.latency.ci_high_s, report.latency.ci_level
    return line if low is None or level is None else f"{line} ({span(low)} to {span(high)}, {level:.0%})"


def verdict_words(report: Report) -> str:
    """The verdict and the class of the series, or the failure."""
    by = "own time" if report.own_time is not None else "wall time"
    label = f" ({report.verdict.label}, by {by})" if report.verdict.label else ""
    return headline(report) if report.failure is not None else f"{report.verdict.state}{label}"


def summary(report: Report, width: int = 80, paint: Paint = plain, *, message: bool = False) -> str:
    """
    What came out, the figures, the time by cause (dearest first), the contaminated runs, the verdict, what to do next.

    ``message`` shows a failure's own text too, which may hold values of the user's.
    """
    lines = [paint(shortened(report.callable, width), "title"), *folded(headline(report), width)]
    if message and report.failure is not None and report.failure.message:
        lines += folded(f"  {report.failure.type}: {report.failure.message}", width, indent=4)
    lines += columns(figures(report), width)
    marked = marked_lines(report.measured, width)
    for part in filter(None, (cause_lines(report, width, paint), marked, verdict_lines(report, width, paint))):
        lines += ["", *part]
    return "\n".join(lines)


def cause_lines(report: Report, width: int, paint: Paint) -> list[str]:
    """The ledger of validation and warm-up, each cause with its reasons and what to do about it."""
    spent = causes(report)
    if not spent:
        return []
    whole = sum(seconds for _, seconds in spent)
    table = columns([(f"  {cause}", span(seconds), share(seconds, whole)) for cause, seconds in spent], width)
    lines = [paint("cold and warm-up time by cause", "title"), *table]
    cold = list(own_work(run for run in (report.validation, *report.warmup) if run is not None))
    for cause, seconds in spent:
        if reasons := because(cold, cause):
            lines += folded(f"  {cause}: {reasons}", width, indent=4)
        if seconds > TINY * whole and (
            advice := about_work(cause, [work.reason for work in cold if work.kind == cause and work.reason])
        ):
            lines += [paint(line, "advice") for line in folded(f"  next, {cause}: {advice}", width, indent=4)]
    return lines


def marked_lines(runs: Sequence[Run], width: int) -> list[str]:
    """Measured runs that paid for one-time work, with the reason of each."""
    marked = [run for run in runs if run.contaminated]
    if not marked:
        return []
    title = f"{len(marked)} of {len(runs)} measured runs paid for one-time work and are left out of the clean figures:"
    lines = folded(title, width)
    for run in marked[:MARKED]:
        paid = (in_words(work) for work in own_work([run]) if work.recurrence == "one_time")
        lines += folded(f"  run {run.index}: {span(run.duration_s)}: {'; '.join(dict.fromkeys(paid))}", width, indent=4)
    return [*lines, f"  and {len(marked) - MARKED} more"] if len(marked) > MARKED else lines


def verdict_lines(report: Report, width: int, paint: Paint) -> list[str]:
    """The verdict, its reasons, what to do next, and who could not look."""
    state = "failed" if report.failure is not None else report.verdict.state
    lines = [paint(line, state) for line in folded(f"verdict {verdict_words(report)}", width)]
    for found, way_out in findings(report):
        lines += folded(f"  - {found}", width, indent=4)
        lines += [paint(line, "advice") for line in folded(f"    next: {way_out}", width, indent=10)] if way_out else []
    if report.verdict.unwatched:
        unwatched = ", ".join(f"{name} ({why})" for name, why in report.verdict.unwatched.items())
        lines += folded(f"  not watched: {unwatched}", width, indent=4)
    decision, counted = report.would_have_said, report.decision is not None and report.decision.path == "count"
    if counted and decision is not None and decision.state == "proven":
        runs = f"{decision.numbers.get('n', 0):.0f} warm-up runs ({decision.path})"
        lines += folded(f"  until_steady() would have stopped after {runs}", width, indent=4)
    return lines


def own_work(runs: Iterable[Run]) -> Iterable[OneTimeWork]:
    """Own work of some runs."""
    return (work for run in runs for work in run.work if work.charged)


def in_words(work: OneTimeWork) -> str:
    """One piece of work: its kind, the rank that did it, and why."""
    where = "" if work.rank is None else f" on rank {work.rank}"
    return f"{work.kind}{where} ({work.reason})" if work.reason else f"{work.kind}{where}"


def because(seen: Sequence[OneTimeWork], cause: str) -> str:
    """The reasons of a cause, the first few."""
    reasons = list(dict.fromkeys(work.reason for work in seen if work.kind == cause and work.reason))
    more = f" and {len(reasons) - 2} more" if len(reasons) > 2 else ""
    return "; ".join(reasons[:2]) + more


def run_rows(report: Report) -> list[Sequence[str]]:
    """Every run: phase, number, time, what was special about it."""
    return [(run.phase.value, str(run.index), span(run.duration_s), "; ".join(notes(run))) for run in report.runs]


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
