"""What people look at: a Report turned into text, a page, an explanation, a comparison."""

from __future__ import annotations

from jitwarmup.records.report import Report


def report_text(report: Report) -> str:
    """A report in plain text: what came out, what the time went into, and what to do next."""
    from jitwarmup.views.summary import summary

    return summary(report, width=120)


def report_html(report: Report) -> str:
    """HTML of one report for a notebook's output cell: the page's figures, without a script."""
    from jitwarmup.views.html import fragment

    return fragment(report)
