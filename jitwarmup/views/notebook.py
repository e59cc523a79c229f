"""What a notebook shows of a report: the page's figures, without a script, so that they survive in a saved notebook."""

from __future__ import annotations

from jitwarmup.model.report import Report
from jitwarmup.views.html import fragment


def repr_html(report: Report) -> str:
    """HTML of one report for a notebook's output cell."""
    return fragment(report)
