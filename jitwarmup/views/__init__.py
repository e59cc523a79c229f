"""What people look at: a Report turned into text, a page, an explanation, a comparison."""

from __future__ import annotations

from jitwarmup.records.report import Report
from jitwarmup.records.text import shortened


def report_text(report: Report) -> str:
    """A report in plain text: what came out, what the time went into, and what to do next."""
    from jitwarmup.views.summary import summary

    return summary(report, width=120)


def report_line(report: Report) -> str:
    """A report in one line: the function, its steady median, the verdict."""
    from jitwarmup.views.summary import headline

    return shortened(f"{report.callable}: {headline(report)}, {report.verdict.state}", 200)


def report_html(report: Report) -> str | None:
    """HTML of one report for a notebook's output cell; None where it cannot be made, so that the text is shown."""
    from jitwarmup.views.html import page

    try:
        return page([report], whole=False)
    except Exception:  # noqa: BLE001 - jinja2 is missing, a library is broken: a notebook goes on with the text
        return None
