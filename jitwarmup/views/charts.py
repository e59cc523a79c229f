"""
Figures as SVG text for a page: drawn by matplotlib (extra ``report``), imported when the first one is drawn.

Colors are written as marks that no figure would use, and turned into CSS variables afterwards, so that one drawing is
legible in light and dark. Runs are drawn as one path of dots: 500 markers of matplotlib's would be 50 kB. Nothing
global is left changed, no window system is asked for, and text is never read as mathematics.
"""

from __future__ import annotations

import importlib.util
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from jitwarmup.records.report import Report
from jitwarmup.records.runs import Phase, Run
from jitwarmup.records.text import one_line
from jitwarmup.records.units import span
from jitwarmup.views.summary import causes

WAY_OUT = "matplotlib is not installed, so there are tables and no figures: pip install 'jitwarmup[report]'"
WIDE_IN = 4.6  # inches; drawn small, since a narrow screen shrinks text and a wide one may enlarge it
MARKS = {
    "ink": "#010101",
    "muted": "#020202",
    "grid": "#030303",
    "cold": "#040404",
    "warm": "#050505",
    "steady": "#060606",
    "marked": "#070707",
    **{f"c{at}": f"#0a0a{at:02x}" for at in range(1, 9)},
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "path.simplify": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MARKS["muted"],
    "axes.labelcolor": MARKS["muted"],
    "text.color": MARKS["ink"],
    "xtick.color": MARKS["muted"],
    "ytick.color": MARKS["muted"],
    "axes.linewidth": 0.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
TICK_DIGITS = 5  # three would give neighbouring ticks the same label
FEW = 120  # points up to which each is a dot of its own
KINDS = 12  # rows of one-time work in the curve; further kinds share the last one


def can_draw() -> bool:
    """Whether matplotlib is installed; it is not imported for the answer."""
    return importlib.util.find_spec("matplotlib") is not None


@contextmanager
def figure(height_in: float, salt: str) -> Iterator[tuple[Any, list[str]]]:
    """A figure to draw on; afterwards the list holds its SVG."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context({**STYLE, "svg.hashsalt": one_line(salt)}):
        drawn = Figure(figsize=(WIDE_IN, height_in), layout="constrained")
        FigureCanvasSVG(drawn)
        found: list[str] = []
        yield drawn, found
        out = io.StringIO()
        drawn.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None})
        found.append(themed(out.getvalue()))


def themed(svg: str) -> str:
    """SVG as it stands in a page: without its head, numbers to a tenth of a point, colors by CSS variable."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for size in ("width", "height"):
        svg = re.sub(rf'(<svg[^>]*?) {size}="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"<style type=.*?</style>", "", svg, flags=re.DOTALL)  # it would hold for the whole page
    svg = re.sub(r' id="[a-zA-Z0-9.]+_\d+"', "", svg)  # nobody refers to them, and two figures would share them
    svg = re.sub(r'(?<= )(d|x|y)="([^"<>]*)"', lambda found: f'{found[1]}="{compact(found[2])}"', svg)
    svg = svg.replace("'DejaVu Sans', sans-serif", "inherit").replace("'DejaVu Sans'", "system-ui")
    for name, mark in MARKS.items():
        svg = svg.replace(mark, f"var(--{name})")
    return re.sub(r"\s*\n\s*", "\n", svg)


def compact(path: str) -> str:
    """Coordinates to a tenth of a point, and a subpath of no length as ``h0``."""
    path = re.sub(r"-?\d+\.\d+", lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), path)
    path = re.sub(r"M (\S+ \S+)\s+L \1(?=\s|$)", r"M\1h0", path)
    return re.sub(r"\s*([A-Za-z])\s*", r"\1", path).strip()


def drawings(report: Report) -> dict[str, Any]:
    """Every drawing of a report by its name, ``stream`` a list of titled ones; none without matplotlib or runs."""
    if not can_draw() or not report.runs:
        return {}
    return {
        "curve": curve(report),
        "ledger": ledger_bar(report) if causes(report) else "",
        "distribution": distribution(report) if any(run.outcome == "ok" for run in report.measured) else "",
        "stream": stream(report),
        "device": device_strip(report) if report.device is not None else "",
    }


# ------------------------------------------------------------------ the warm-up curve


def curve(report: Report) -> str:
    """Seconds of every run, in order; above it every kind of one-time work, named, where it happened."""
    rows = work_rows(report.runs)
    high = 0.2 * len(rows) + 0.1
    with figure(2.3 + (high if rows else 0.0), f"curve{report.report_id}") as (drawn, found):
        if rows:
            above, below = drawn.subplots(2, 1, sharex=True, height_ratios=[high, 2.3])
            draw_work(above, rows)
        else:
            below = drawn.subplots()
        draw_runs(below, report)
        drawn.align_ylabels()
    return found[0]


def work_rows(runs: Sequence[Run]) -> list[tuple[str, list[int]]]:
    """Kind of one-time work -> numbers of the runs that paid it, in the order of their first appearance."""
    rows: dict[str, list[int]] = {}
    for number, run in enumerate(runs, 1):
        for work in run.work:
            if work.recurrence == "one_time":
                name = work.kind if work.scope == "own" else f"{work.kind} ({work.scope})"
                rows.setdefault(name if name in rows or len(rows) < KINDS else "other kinds", []).append(number)
    return list(rows.items())


def draw_work(axes: Any, rows: Sequence[tuple[str, list[int]]]) -> None:
    """One row for each kind, a mark for each run."""
    for at, (_, numbers) in enumerate(rows):
        dots(axes, [(number, at) for number in numbers], "marked", size=6)
    labels = [one_line(kind if len(kind) <= 22 else f"{kind[:21]}…") for kind, _ in rows]  # room is left for the curve
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(length=0, labelbottom=False, bottom=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def draw_runs(axes: Any, report: Report) -> None:
    """The curve itself, its steady median and interval."""
    numbered = list(enumerate(report.runs, 1))
    axes.plot(*zip(*[(number, run.duration_s) for number, run in numbered], strict=True), color=MARKS["grid"], lw=0.8)
    size = 4.0 if len(numbered) <= FEW else 2.6
    for group, test in GROUPS.items():
        if chosen := [(number, run.duration_s) for number, run in numbered if test(run)]:
            dots(axes, chosen, group, size=size)
    steady, first = report.latency, next((n for n, run in numbered if run.phase is Phase.MEASURE), None)
    if steady.median_s is not None and first is not None:
        axes.plot([first, len(numbered)], [steady.median_s] * 2, color=MARKS["ink"], lw=0.7, ls=(0, (4, 3)))
    scaled(axes, [run.duration_s for run in report.runs if run.duration_ns > 0])
    axes.set_xlabel("run")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.xaxis.set_major_formatter(lambda number, _: f"{number:.0f}" if number >= 1 else "")  # there is no run 0
    edge = 0.6 + len(numbered) / 60
    axes.set_xlim(1 - edge, len(numbered) + edge)
    axes.grid(axis="y", color=MARKS["grid"], lw=0.5)


GROUPS: dict[str, Callable[[Run], bool]] = {
    "cold": lambda run: run.phase is Phase.VALIDATE,
    "warm": lambda run: run.phase is Phase.WARM,
    "muted": lambda run: run.phase is Phase.MEASURE and (run.discarded or run.outcome != "ok"),
    "steady": lambda run: run.clean,
    "marked": lambda run: run.phase is Phase.MEASURE and run.contaminated and not run.discarded and run.outcome == "ok",
}


def dots(axes: Any, points: Sequence[tuple[float, float]], mark: str, *, size: float) -> None:
    """Dots as one path: a subpath of no length with round ends is a dot."""
    xs = [part for x, _ in points for part in (x, x + 1e-6, math.nan)]
    ys = [part for _, y in points for part in (y, y, math.nan)]
    axes.plot(xs, ys, color=MARKS[mark], lw=size, solid_capstyle="round", clip_on=False)


def scaled(axes: Any, seconds: Sequence[float]) -> None:
    """A logarithmic axis where the values span much, ticks in the unit that suits them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    spread = max(seconds) / min(seconds) if seconds else 1.0
    if spread > 6:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if spread > 300 else (1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif seconds:
        axes.set_ylim(0, max(seconds) * 1.15)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: span(value, TICK_DIGITS)))


# ------------------------------------------------------------------ ledger, distribution, stream, device


def ledger_bar(report: Report) -> str:
    """Seconds by cause as one bar; the table beside it names the colors."""
    with figure(0.42, f"ledger{report.report_id}") as (drawn, found):
        axes, left = drawn.subplots(), 0.0
        for at, (_, seconds) in enumerate(causes(report)):
            axes.barh(0, seconds, left=left, color=MARKS[color_of(at)], height=1, edgecolor=MARKS["grid"], lw=0.3)
            left += seconds
        axes.set_xlim(0, left)
        axes.set_axis_off()
    return found[0]


def color_of(at: int) -> str:
    """The color of the cause at a place of the ledger; beyond eight the rest is muted."""
    return f"c{at + 1}" if at < 8 else "muted"


def distribution(report: Report) -> str:
    """Measured runs by their time, the contaminated ones apart."""
    done = [run for run in report.measured if run.outcome == "ok"]
    sets = [
        ([run.duration_s for run in done if run.clean], "steady"),
        ([run.duration_s for run in done if run.contaminated], "marked"),
    ]
    return histogram(sets, f"distribution{report.report_id}", report.latency.median_s, "runs")


def histogram(sets: Sequence[tuple[list[float], str]], salt: str, middle: float | None, what: str) -> str:
    """Counts by seconds, one row above the other, each on an axis of its own: what was compiled is far off the rest."""
    import numpy as np
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    sets = [(values, mark) for values, mark in sets if values]
    with figure(0.3 + 1.1 * len(sets), salt) as (drawn, found):
        rows = drawn.subplots(len(sets), 1, squeeze=False)[:, 0]
        for axes, (values, mark) in zip(rows, sets, strict=True):
            edges = bins(values)
            axes.stairs(*np.histogram(values, edges), fill=True, color=MARKS[mark])
            axes.set_ylabel(what)
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            if middle is not None and edges[0] <= middle <= edges[-1]:
                axes.axvline(middle, color=MARKS["ink"], lw=0.8, ls=(0, (4, 3)))
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: span(value, TICK_DIGITS)))
    return found[0]


def bins(values: Sequence[float]) -> list[float]:
    """Edges of equal bins around all values."""
    low, high = min(values), max(values)
    count = min(40, max(5, 2 * math.isqrt(len(values))))
    width = (high - low) / count or max(abs(high), 1e-9) / 10
    return [low - width / 2 + width * at for at in range(count + 2)]


def stream(report: Report) -> list[tuple[str, str]]:
    """First-item and gap times of streamed runs, each a titled figure."""
    kept = [run for run in report.measured if run.outcome == "ok" and not run.contaminated]
    firsts = [run.first_item_s for run in kept if run.first_item_s is not None]
    gaps = [gap for run in kept for gap in run.item_gaps_s or ()]
    sets = [
        ("First item", firsts, "steady", "first", report.first_item, "runs"),
        ("Gaps between items", gaps, "warm", "gap", report.item_gap, "gaps"),
    ]
    return [
        (title, histogram([(values, mark)], f"{salt}{report.report_id}", known.median_s, what))
        for title, values, mark, salt, known, what in sets
        if values and known is not None
    ]


STRIPS: dict[str, Callable[[Run], float | None]] = {
    "power, W": lambda run: run.device.power_mean_w if run.device else None,
    "SM clock, MHz": lambda run: run.device.sm_clock_mhz[1] if run.device else None,
    "throttled, s": lambda run: sum(run.device.throttled_s.values()) if run.device and run.device.throttled_s else None,
    "temperature, C": lambda run: run.device.temperature_c[1] if run.device else None,
}


def device_strip(report: Report) -> str:
    """Power, clocks, throttling and temperature over the measured runs; nothing where no run has any of them."""
    strips = {
        name: [(float(run.index), value) for run in report.measured if (value := read(run)) is not None]
        for name, read in STRIPS.items()
    }
    strips = {name: points for name, points in strips.items() if points}
    if not strips:
        return ""
    with figure(0.5 + 0.8 * len(strips), f"device{report.report_id}") as (drawn, found):
        rows = drawn.subplots(len(strips), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (name, points) in zip(rows, strips.items(), strict=True):
            axes.plot(*zip(*points, strict=True), color=MARKS["steady"], lw=0.9)
            if len(points) <= FEW:
                dots(axes, points, "steady", size=3)
            axes.set_title(name, fontsize=8, loc="left")
            axes.ticklabel_format(useOffset=False)
            axes.locator_params(axis="y", nbins=3)
        rows[-1].set_xlabel("measured run")
    return found[0]
