"""A report in plain text: what the time went into, biggest cause first, and what to do next."""

from __future__ import annotations

from jitwarmup.model.report import Report
from jitwarmup.views.text import span


def explain(report: Report) -> str:
    """The explanation of one report, one finding a line."""
    lines = [headline(report)]
    if report.validation is not None:
        lines.append(f"cold run {span(report.validation.duration_s)}, {len(report.warmup)} warm-up runs")
    causes = sorted(report.ledger.items(), key=lambda item: -item[1])
    lines += [f"  {cause:24} {span(seconds)}" for cause, seconds in causes if seconds > 0]
    lines += [f"verdict {report.verdict.state}: {reason.kind}" for reason in report.verdict.reasons]
    return "\n".join(lines)


def headline(report: Report) -> str:
    """What came out, in one line."""
    if report.failure is not None:
        failure = report.failure
        return f"{report.callable}: failed in {failure.phase} run {failure.index} with {failure.type}"
    if report.latency_s is None:
        return f"{report.callable}: nothing was measured"
    return f"{report.callable}: {span(report.latency_s)} a run at the median of {report.latency.n} clean runs"
