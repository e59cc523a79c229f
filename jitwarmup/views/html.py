"""
Reports as one self-contained page: no network, no script, under 150 kB, light and dark, narrow and wide.

``report.html.j2`` lays it out, and jinja2 escapes every text that is not ours. Drawings come from ``charts``; where
matplotlib is missing the tables stand alone and say so. Where the tables of all runs would make the page too heavy, their
middle is left out, with a remark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.report import Report
from jitwarmup.records.text import shortened
from jitwarmup.records.units import moment, span
from jitwarmup.views import charts
from jitwarmup.views.summary import causes, figures, findings, run_rows, verdict_words
from jitwarmup.views.text import share

MOST_BYTES = 150_000
LEGEND = {
    "cold": "validation",
    "warm": "warm-up",
    "steady": "measured, clean",
    "marked": "contaminated; above the curve: one-time work",
}


def page(reports: Sequence[Report], *, whole: bool = True) -> str:
    """
    The whole page, or what a notebook shows of it.

    Raises:
        ArgumentError: even without a table of runs the reports do not fit into one page.
        ImportError: jinja2 is not installed.

    """
    template = page_template()
    drawn: list[dict[str, Any]] = [{} for _ in reports]

    def laid_out(kept: float) -> str:
        rows = [shortened_rows(report, kept) for report in reports]
        shown = [(report, svg, *parts) for report, svg, parts in zip(reports, drawn, rows, strict=True)]
        text = f"{template.render(reports=shown, whole=whole).strip()}\n"
        if kept == 0.0 and len(text.encode()) > MOST_BYTES:
            raise ArgumentError(
                f"{len(reports)} reports are too many for one page of {MOST_BYTES // 1000} kB; wanted one page each"
            )
        return text

    bare = laid_out(0.0)  # before anything is drawn, and after each drawing: drawing takes most of the time
    for at, report in enumerate(reports):
        drawn[at] = charts.drawings(report)
        bare = laid_out(0.0)
    fitting = (text for step in range(40) if len((text := laid_out(0.9**step)).encode()) < MOST_BYTES)
    return next(fitting, bare)


def page_template() -> Any:
    """The layout, with what it asks of a report."""
    try:
        from jinja2 import Environment, PackageLoader
    except ImportError as error:
        raise ImportError("jinja2 is not installed, so there is no page: pip install 'jitwarmup[report]'") from error

    environment = Environment(
        loader=PackageLoader("jitwarmup.views", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: shortened(value) if type(value) is str else value,  # what is not our own markup
    )
    ours = (amortisation, causes, device_lines, facts, figures, findings, legend, share, span, verdict_words)
    environment.globals |= {one.__name__: one for one in ours}
    environment.globals |= {"color_of": charts.color_of, "no_drawings": charts.WAY_OUT}
    return environment.get_template("report.html.j2")


def shortened_rows(report: Report, kept: float) -> tuple[Sequence[Sequence[str]], Sequence[Sequence[str]], int]:
    """The first and the last rows of the table of runs, and how many between them are left out."""
    rows = run_rows(report)
    left_out = len(rows) - int(len(rows) * kept)
    start = (len(rows) - left_out) // 2
    return rows[:start], rows[start + left_out :], left_out


def facts(report: Report) -> list[str]:
    """When and where."""
    when = f"{moment(report.started_at):%Y-%m-%d %H:%M:%S UTC}"
    named = [
        f"{name} {report.environment[name]}" for name in ("python", "torch", "device") if name in report.environment
    ]
    return [when, f"{len(report.runs)} runs in {span(report.duration_s)}", *named]


def legend(report: Report) -> list[tuple[str, str]]:
    """What the colors of the curve mean: a color and its words."""
    shown = {mark for mark, test in charts.GROUPS.items() if any(map(test, report.runs))}
    shown |= {"marked"} if charts.work_rows(report.runs) else set()
    return [(mark, text) for mark, text in LEGEND.items() if mark in shown]


def amortisation(report: Report) -> list[tuple[str, str]]:
    """The mean cost of a call, the cold cost included, over so many calls."""
    means = {n: report.amortised(n) for n in (1, 10, 100, 1000, 10_000)}
    rows = [(f"{n:,} calls" if n > 1 else "1 call", span(mean)) for n, mean in means.items() if mean is not None]
    return rows and [*rows, *(row for row in figures(report) if row[0].startswith("calls until"))]


def device_lines(report: Report) -> list[str]:
    """What was read of the device, or why nothing was."""
    reading = report.device
    if reading is None:
        unwatched = report.verdict.unwatched.items()
        why = "; ".join(f"{name}: {reason}" for name, reason in unwatched if name.startswith("monitor"))
        return [f"no device was read ({why})" if why else "no device was read: no monitor was given"]
    limits = sorted({limit for run in report.measured if run.device for limit in run.device.throttled_s})
    throttled = [f"throttled by {', '.join(limits)}"] if limits else []
    missing = [f"not read: {metric} ({why})" for metric, why in reading.missing.items()]
    return [f"{reading.name} {reading.uuid}".strip(), f"status {reading.status}", *throttled, *missing]
