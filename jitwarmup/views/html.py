"""
A report as one self-contained page: no network, no script, under 150 kB, light and dark, narrow and wide.

Every text that is not ours is escaped. Figures come from ``draw``; where matplotlib is missing the tables stand alone and
say so. Where the tables of all runs would make the page too heavy, the middle of the longest is left out, with a remark.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files

from jitwarmup.records.report import Report
from jitwarmup.records.units import span
from jitwarmup.views import charts
from jitwarmup.views.summary import causes, figures, findings, run_rows, verdict_words
from jitwarmup.views.text import share

SHEET = "".join(files("jitwarmup.views").joinpath("report.css").read_text(encoding="utf-8").splitlines()[1:])
MOST_BYTES = 150_000
LEGEND = {
    "cold": "validation",
    "warm": "warm-up",
    "steady": "measured, clean",
    "marked": "contaminated; above the curve: one-time work",
}


def page(reports: Sequence[Report]) -> str:
    """
    The whole page.

    Raises:
        ValueError: even without a table of runs the reports do not fit into one page.

    """
    fixed = [sections(report) for report in reports]
    space = MOST_BYTES - 2000 - len(SHEET) - sum(len(part.encode()) for part in fixed)
    if space < 0:
        raise ValueError(
            f"{len(reports)} reports are too many for one page of {MOST_BYTES // 1000} kB; wanted fewer: one page each"
        )
    tables = [runs_table(report, space // len(reports)) for report in reports]
    bodies = "".join(article(report, *parts) for report, *parts in zip(reports, fixed, tables, strict=True))
    title = escape(", ".join(dict.fromkeys(report.callable for report in reports)))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>{title[:200]} - jitwarmup</title><style>{SHEET}</style></head>"
        f'<body><main class="jw">{bodies}</main></body></html>\n'
    )


def article(report: Report, fixed: str, runs: str) -> str:
    """One report on the page."""
    return f"<header>{head(report)}</header><article>{fixed}{runs}</article>"


def head(report: Report) -> str:
    """Name, verdict, when and where."""
    state = "failed" if report.failure is not None else report.verdict.state
    when = datetime.fromtimestamp(report.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    facts = [when, f"{len(report.runs)} runs in {span(report.duration_s)}"]
    facts += [
        f"{name} {report.environment[name]}" for name in ("python", "torch", "device") if name in report.environment
    ]
    return (
        f"<h1>{escape(report.callable)}</h1>"
        f'<p><span class="badge {escape(state)}">{escape(state)}</span> '
        f'<span class="muted">{escape("; ".join(facts))}</span></p>'
    )


def sections(report: Report) -> str:
    """Everything but the table of runs."""
    parts = [figures_card(report), verdict_card(report)]
    if not report.runs:
        return f'<div class="grid">{"".join(parts)}</div>'
    if charts.can_draw():
        parts += [card("Warm-up curve", charts.curve(report) + legend(report), whole=True)]
    else:
        parts += [card("Figures", f"<p>{escape(charts.WAY_OUT)}</p>")]
    parts += [ledger_card(report), amortisation_card(report)]
    if charts.can_draw():
        parts += [distribution_card(report), *(card(title, svg) for title, svg in charts.stream(report))]
    parts += [device_card(report), card("Environment", pairs([(k, str(v)) for k, v in report.environment.items()]))]
    return f'<div class="grid">{"".join(filter(None, parts))}</div>'


def card(title: str, body: str, *, whole: bool = False) -> str:
    """One box of the page."""
    return f"<section{' class=whole' if whole else ''}><h2>{escape(title)}</h2>{body}</section>"


def pairs(rows: Sequence[tuple[str, str]]) -> str:
    """A table of names and values."""
    body = "".join(f'<tr><td>{escape(name)}<td class="n">{escape(value)}' for name, value in rows)
    return f"<table><tbody>{body}</table>" if len(max([v for _, v in rows] or [""], key=len)) < 30 else flowing(rows)


def flowing(rows: Sequence[tuple[str, str]]) -> str:
    """The same, for values that may need several lines."""
    body = "".join(f"<tr><th>{escape(name)}<td>{escape(value)}" for name, value in rows)
    return f"<table><tbody>{body}</table>"


def figures_card(report: Report) -> str:
    """What came out, in numbers."""
    return card("Figures", pairs(figures(report)))


def verdict_card(report: Report) -> str:
    """The verdict with its reasons, what to do next, and who could look."""
    found = "".join(
        f"<li>{escape(words)}" + (f'<br><span class="muted">next: {escape(way_out)}</span>' if way_out else "")
        for words, way_out in findings(report)
    )
    watched = ", ".join(report.verdict.watched) or "nobody"
    blind = "; ".join(f"{name}: {why}" for name, why in report.verdict.unwatched.items())
    failure = (
        "" if report.failure is None else f"<p>{escape(f'{report.failure.type}: {report.failure.message}'[:2000])}</p>"
    )
    return card(
        "Verdict",
        f"<p>{escape(verdict_words(report))}</p>{failure}<ul>{found or '<li>nothing to hold against it'}</ul>"
        f'<p class="muted">watched: {escape(watched)}</p>'
        + (f'<p class="muted">not watched: {escape(blind[:1500])}</p>' if blind else ""),
    )


def legend(report: Report) -> str:
    """What the colors of the curve mean."""
    shown = {mark for mark, test in charts.GROUPS.items() if any(test(run) for run in report.runs)}
    shown |= {"marked"} if charts.work_rows(report.runs) else set()
    keys = "".join(
        f'<span><span class="key" style="background:var(--{mark})"></span>{escape(text)}</span>'
        for mark, text in LEGEND.items()
        if mark in shown
    )
    return f'<div class="legend">{keys}<span>dashed: the steady median</span></div>'


def ledger_card(report: Report) -> str:
    """Seconds of validation and warm-up by cause: a bar, and its table."""
    spent = causes(report)
    if not spent:
        return ""
    whole = sum(seconds for _, seconds in spent)
    rows = "".join(
        f'<tr><td><span class="key" style="background:var(--{charts.color_of(at)})"></span>{escape(cause)}'
        f'<td class="n">{span(seconds)}<td class="n">{share(seconds, whole)}'
        for at, (cause, seconds) in enumerate(spent)
    )
    bar = charts.ledger_bar(report) if charts.can_draw() else ""
    return card("Cold and warm-up time by cause", f"{bar}<table><tbody>{rows}</table>")


def amortisation_card(report: Report) -> str:
    """The mean cost of a call, the cold cost included, over so many calls."""
    rows = [
        (f"{n:,} calls" if n > 1 else "1 call", span(mean))
        for n in (1, 10, 100, 1000, 10_000)
        if (mean := report.amortised(n)) is not None
    ]
    if not rows:
        return ""
    last = [row for row in figures(report) if row[0].startswith("calls until")]
    return card("Mean time of a call, cold cost included", pairs([*rows, *last]))


def distribution_card(report: Report) -> str:
    """The measured runs, contaminated ones apart."""
    if not any(run.outcome == "ok" for run in report.measured):
        return ""
    marked = sum(run.contaminated for run in report.measured)
    apart = f"; {marked} contaminated, shown apart" if marked else ""
    note = f'<p class="muted">{len(report.measured)} measured runs{apart}; dashed: the median of the clean runs</p>'
    return card("Measured runs", charts.distribution(report) + note)


def device_card(report: Report) -> str:
    """Power, clocks and throttling, or why they are absent."""
    reading = report.device
    if reading is None:
        why = "; ".join(
            f"{name}: {reason}" for name, reason in report.verdict.unwatched.items() if name.startswith("monitor")
        )
        return card(
            "Device",
            f'<p class="muted">no device was read{escape(f" ({why})" if why else ": no monitor was given")}</p>',
        )
    strip = charts.device_strip(report) if charts.can_draw() else None
    limits = sorted({limit for run in report.measured if run.device for limit in run.device.throttled_s})
    remarks = [f"{reading.name} {reading.uuid}".strip(), f"status {reading.status}"]
    remarks += [f"throttled by {', '.join(limits)}"] if limits else []
    remarks += [f"not read: {metric} ({why})" for metric, why in reading.missing.items()]
    words = "".join(f'<p class="muted">{escape(line)}</p>' for line in remarks)
    return card("Device", (strip or "") + words)


def runs_table(report: Report, space: int) -> str:
    """Every run; of more than fit into ``space`` bytes the middle is left out."""
    rows = [row_html(row) for row in run_rows(report)]
    left_out = 0
    while rows and sum(len(row.encode()) for row in rows) > space - 400:
        cut = max(1, len(rows) // 20)
        middle = len(rows) // 2
        del rows[middle - cut // 2 : middle - cut // 2 + cut]
        left_out += cut
    if left_out:
        remark = f"{left_out} runs in the middle are left out to keep the page small; the saved report has them"
        rows.insert(len(rows) // 2, f"<tr><td colspan=4>{remark}")
    body = "".join(rows)
    return (
        f"<section class=runs><details><summary>every run ({len(report.runs)})</summary><table>"
        f"<thead><tr><th>phase<th>run<th>time<th>one-time work</thead><tbody>{body}</table></details></section>"
    )


def row_html(row: Sequence[str]) -> str:
    """One row of the table of runs."""
    return "<tr>" + "".join(f"<td>{escape(cell)}" for cell in row)


def fragment(report: Report) -> str:
    """The same for a notebook: with its own sheet, without a page around it."""
    body = article(report, sections(report), runs_table(report, MOST_BYTES // 2))
    return f'<style>{SHEET.replace("body{margin:0}", "")}</style><div class="jw">{body}</div>'
