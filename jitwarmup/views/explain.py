"""
A report in plain text: what came out, what the time went into (biggest cause first), and what to do next.

Every line is data of the report put into words; nothing is measured or guessed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jitwarmup.records.report import Report
from jitwarmup.records.runs import OneTimeWork, Run
from jitwarmup.records.verdict import Reason
from jitwarmup.views.advice import about_finding, about_work
from jitwarmup.views.text import span

TINY = 0.005  # share of the cold seconds below which a cause is not worth a line
MARKED = 5  # contaminated runs told one by one


def explain(report: Report) -> str:
    """The explanation of one report."""
    marked = marked_lines(report.measured)
    parts = [headline(report), *cold_lines(report), *marked, *rank_lines(report), *verdict_lines(report)]
    return "\n".join(parts)


def headline(report: Report) -> str:
    """What came out, in one line."""
    if report.failure is not None:
        failure = report.failure
        where = "" if failure.rank is None else f" on rank {failure.rank}"
        return f"{report.callable}: failed in {failure.phase} run {failure.index}{where} with {failure.type}"
    if report.latency_s is None:
        return f"{report.callable}: nothing was measured"
    if not report.latency.n:
        return f"{report.callable}: {span(report.latency_s)} a run at the median; no run was free of one-time work"
    line = f"{report.callable}: {span(report.latency_s)} a run at the median of {report.latency.n} clean runs"
    low, high, level = report.latency.ci_low_s, report.latency.ci_high_s, report.latency.ci_level
    return line if low is None or level is None else f"{line} ({span(low)} to {span(high)}, {level:.0%})"


def cold_lines(report: Report) -> Iterable[str]:
    """The ledger of validation and warm-up, biggest cause first, each with its reason and what to do."""
    if report.validation is None:
        return
    total = sum(report.ledger.values())
    runs = len(report.warmup)
    yield f"cold run {span(report.validation.duration_s)}, then {runs} warm-up run{'' if runs == 1 else 's'}:"
    seen = list(works((report.validation, *report.warmup)))
    for cause, seconds in sorted(report.ledger.items(), key=lambda item: -item[1]):
        if seconds > TINY * total:
            yield f"  {span(seconds):>9}  {cause}{because(seen, cause)}"
            advice = about_work(cause)
            if advice is not None:
                yield f"             -> {advice}"


def marked_lines(runs: Sequence[Run]) -> Iterable[str]:
    """Measured runs that paid for one-time work, with the reason of each."""
    marked = [run for run in runs if run.contaminated]
    if not marked:
        return
    yield f"{len(marked)} of {len(runs)} measured runs paid for one-time work and are left out of the clean figures:"
    for run in marked[:MARKED]:
        paid = [work for work in works([run]) if work.recurrence == "one_time"]
        told = "; ".join(dict.fromkeys(map(in_words_of_work, paid)))
        yield f"  run {run.index}: {span(run.duration_s)}: {told}"
    if len(marked) > MARKED:
        yield f"  and {len(marked) - MARKED} more"


def in_words_of_work(work: OneTimeWork) -> str:
    """One piece of work: its kind, the rank that did it, and why."""
    where = "" if work.rank is None else f" on rank {work.rank}"
    return f"{work.kind}{where} ({work.reason})" if work.reason else f"{work.kind}{where}"


def rank_lines(report: Report) -> Iterable[str]:
    """Of several ranks in step: whom the others wait for."""
    ranks = report.ranks
    if ranks is not None and ranks.straggler is not None:
        yield (
            f"{len(ranks.members)} ranks in step: rank {ranks.straggler} is the slowest in {ranks.straggler_share:.0%} of "
            f"the runs; {span(ranks.skew_s)} between the slowest and the fastest at the median"
        )


def verdict_lines(report: Report) -> Iterable[str]:
    """The verdict, its reasons, and who could not look."""
    label = f", the series is {report.verdict.label}" if report.verdict.label else ""
    yield f"verdict: {report.verdict.state}{label}"
    for reason in report.verdict.reasons:
        advice = about_finding(reason.kind)
        yield f"  {in_words(reason)}{f' -> {advice}' if advice else ''}"
    if report.verdict.unwatched:
        yield f"  not watched: {', '.join(f'{name} ({why})' for name, why in report.verdict.unwatched.items())}"
    said = report.would_have_said
    if said is not None and said.state == "proven" and report.decision is not None and report.decision.path == "count":
        yield f"  until_steady() would have stopped after {said.numbers.get('n', 0):.0f} warm-up runs ({said.path})"


def in_words(reason: Reason) -> str:
    """A reason's kind, subject and numbers."""
    numbers = ", ".join(f"{name} {value:.3g}" for name, value in reason.numbers.items())
    subject = f" {reason.subject}" if reason.subject else ""
    return f"{reason.kind}{subject}{f' ({numbers})' if numbers else ''}"


def works(runs: Iterable[Run]) -> Iterable[OneTimeWork]:
    """Own work of some runs."""
    return (work for run in runs for work in run.work if work.scope == "own")


def because(seen: Sequence[OneTimeWork], cause: str) -> str:
    """The reasons of a cause, the first few."""
    reasons = list(dict.fromkeys(work.reason for work in seen if work.kind == cause and work.reason))
    more = f" and {len(reasons) - 2} more" if len(reasons) > 2 else ""
    return f": {'; '.join(reasons[:2])}{more}" if reasons else ""
