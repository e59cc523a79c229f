"""
``jitwarmup measure package.module:function``: the whole plan on any function, and what came of it.

With ``--against`` two functions are measured side by side in this process, run by run, and compared: on a host that is
not quiet the only fair way. With ``--processes`` one function is measured in so many fresh processes, one after the other.
Exit codes: 0 good; 1 a gate failed; 2 usage; 3 a run of the function failed; 5 undecided, a gate cannot be judged; 130
interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import inspect
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jitwarmup.analysis.compare import Comparison, compare
from jitwarmup.analysis.gates import Judged, judge, parse_gates
from jitwarmup.analysis.resampling import RUNS
from jitwarmup.analysis.sides import read_reports, side_of
from jitwarmup.analysis.stats import across_processes
from jitwarmup.cli import Exit
from jitwarmup.cli.compare import GATES, exit_of
from jitwarmup.cli.progress import Progress
from jitwarmup.cli.target import arguments, resolve
from jitwarmup.cli.terminal import choose_log, command, painter, positive, width, with_messages
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.failure import Failure
from jitwarmup.records.files import append_text, save_text
from jitwarmup.records.report import SENTINEL_S, Report
from jitwarmup.records.text import shortened
from jitwarmup.records.verdict import Reason
from jitwarmup.views.comparison import comparison_markdown, comparison_text
from jitwarmup.views.markdown import report_markdown
from jitwarmup.views.summary import summary


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """What the words of the command say."""
    words = command("measure", __doc__)
    for name, metavar, about in (
        ("args", "JSON", "positional arguments as a JSON list; @FILE reads them from a file"),
        ("kwargs", "JSON", "keyword arguments as a JSON object; @FILE likewise"),
        ("fresh", "FUNCTION", "module:function(*args, **kwargs) -> (args, kwargs) for each run"),
        ("against", "FUNCTION", "the baseline, measured side by side with the same arguments"),
        ("save", "FILE", "write the report (with --against one a line, the baseline first)"),
    ):
        words.add_argument(f"--{name}", metavar=metavar, help=about)
    words.add_argument("function", help="package.module:function or file.py:function")
    words.add_argument("--iterations", type=int, default=5, metavar="N", help="warm-up runs (5)")
    until_steady = "warm up until steady state is proven, 30 runs at most"
    words.add_argument("--until-steady", action="store_true", help=until_steady)
    words.add_argument("--measurements", type=positive, default=20, metavar="N", help="timed runs (20)")
    processes = f"fresh processes to measure in, this one included (1); {RUNS} are enough to compare saved files"
    words.add_argument("--processes", type=positive, default=1, metavar="N", help=processes)
    words.add_argument("--budget", type=float, metavar="S", help="seconds for validation and warm-up")
    words.add_argument("--monitor", action="store_true", help="read the GPU around each measured run")
    words.add_argument("--fail-on", default="", metavar="GATES", help=f"with --against: {GATES}")
    with_messages(words)
    asked = words.parse_args(argv)
    if asked.fail_on and not asked.against:
        words.error("--fail-on compares, so it needs --against FUNCTION; for saved reports: jitwarmup compare A B")
    if asked.against and asked.processes > 1:
        words.error("--against measures both in turn in one process; wanted it without --processes")
    asked.fail_on = parse_gates(asked.fail_on)
    choose_log()
    return asked


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it; with ``--against`` the baseline is the first report, with ``--processes`` each has its own."""

    reports: tuple[Report, ...]
    interrupted: bool
    compared: bool = False

    @property
    def speaks(self) -> bool:
        """Whether this process shows and saves it: of several ranks in step, the first one."""
        return all(report.ranks is None or report.ranks.rank == report.ranks.members[0] for report in self.reports)

    def comparison(self) -> Comparison | None:
        """The two sides compared, where both have been measured."""
        if not self.compared or len(self.reports) < 2 or not all(report.measured for report in self.reports):
            return None
        return compare(side_of([self.reports[0]]), side_of([self.reports[1]]))


def run(argv: Sequence[str]) -> int:
    """Measure, show, save; also what an interruption left."""
    asked = parsed(argv)
    with contextlib.redirect_stdout(sys.stderr):  # the result alone goes to stdout; what the function prints does not
        outcome = measured(asked)
        if asked.processes > 1 and not outcome.interrupted:
            outcome = repeated(outcome, argv, asked.processes - 1)
    comparison = outcome.comparison()
    judged = judge(comparison, asked.fail_on) if comparison is not None else []
    if outcome.speaks:
        try:
            show(asked, outcome, comparison, judged)
        finally:  # after it, so that nothing is lost where it cannot be saved; and where nobody reads what is shown
            save(asked, outcome, comparison, judged)
    if outcome.interrupted:
        print(
            "interrupted" + (f"; what was finished is in {shortened(asked.save)}" if asked.save else ""),
            file=sys.stderr,
        )
        return Exit.INTERRUPTED
    if any(report.failure is not None for report in outcome.reports):
        return Exit.VALIDATION
    return exit_of(judged)


# ------------------------------------------------------------------ measuring


def measured(asked: argparse.Namespace) -> Outcome:
    """Run the plan in a block whose listener draws between runs."""
    from jitwarmup.api.steady import SteadyState
    from jitwarmup.engine.options import UNSET, BlockSettings
    from jitwarmup.engine.rules import until_steady
    from jitwarmup.gpu.monitor import GPUMonitor

    calls = [prepared(name, asked) for name in filter(None, (asked.against, asked.function))]
    warm = None if asked.until_steady else asked.iterations * len(calls)
    drawing = Progress(warm=warm, measure=asked.measurements * len(calls))
    settings = BlockSettings.checked(
        iterations=until_steady() if asked.until_steady else asked.iterations,
        measurements=asked.measurements,
        budget_s=UNSET if asked.budget is None else asked.budget,
        monitor=GPUMonitor() if asked.monitor else UNSET,
        listener=drawing,
    )
    with drawing, SteadyState(None, (), settings) as steady:
        left: BaseException | None = None
        try:
            carried_out(steady, calls)
        except (KeyboardInterrupt, SystemExit) as error:
            left = error
        reports = [exited(report, left) if isinstance(left, SystemExit) else report for report in steady.reports]
        if not asked.messages:
            reports = [report.without_messages() for report in reports]
        return Outcome(tuple(reports), isinstance(left, KeyboardInterrupt), compared=bool(asked.against))


def repeated(outcome: Outcome, argv: Sequence[str], further: int) -> Outcome:
    """
    The same command in further processes, one after the other: side by side they would measure each other.

    The first report summarises the medians of all; a process that gave no report is missing there, with its reason.
    """
    from jitwarmup.api.processes import ending_of

    words = list(argv)
    at = words.index("--") if "--" in words else len(words)
    words[at:at] = ["--processes", "1", "--json", "--save", "", "--markdown", ""]
    reports, missing, interrupted = list(outcome.reports), Counter[str](), False
    for _ in range(further):
        try:
            done = subprocess.run(  # noqa: S603 - this very program, with the words that it was given
                [sys.executable, "-m", "jitwarmup", "measure", *words], stdout=subprocess.PIPE, text=True, check=False
            )
        except KeyboardInterrupt:
            interrupted = True
            break
        try:
            reports += read_reports(done.stdout)
        except ArgumentError:  # killed, or not even begun
            missing[ending_of(done.returncode)] += 1
    medians = [report.latency_s for report in reports if report.latency_s is not None and report.latency_s > 0]
    numbers = {"processes": further + 1.0}
    gone = tuple(
        Reason(kind="process_missing", numbers=numbers | {"missing": n}, subject=why) for why, n in missing.items()
    )
    if reports:
        verdict = replace(reports[0].verdict, reasons=(*reports[0].verdict.reasons, *gone))
        reports[0] = replace(reports[0], verdict=verdict, processes=across_processes(medians))
    return Outcome(tuple(reports), interrupted)


def exited(report: Report, error: SystemExit) -> Report:
    """A measurement whose function asked the process to exit: the report of a failed run."""
    last = report.runs[-1]
    if last.error_type != type(error).__name__:
        return report  # the other side's did
    why = Reason(kind=f"failed_in_{last.phase}", numbers={"index": float(last.index)}, subject=last.error_type)
    verdict = replace(report.verdict, state="invalid", reasons=(why,))
    latency_s = report.latency_s if report.latency.n else SENTINEL_S
    return replace(report, failure=Failure.of(last, error), verdict=verdict, latency_s=latency_s)


def carried_out(steady: Any, calls: Sequence[Any]) -> None:
    """One function by itself, several side by side; asynchronous ones in a loop of their own."""
    if len(calls) == 1:
        pending = steady.measure(calls[0].func, *calls[0].args, **calls[0].keywords)
    else:
        pending = steady.interleave(*calls)
    if inspect.isawaitable(pending):
        with asyncio.Runner() as runner:  # its run() would only cancel on Ctrl-C, unnoticed by what never awaits
            runner.get_loop().run_until_complete(pending)


def prepared(name: str, asked: argparse.Namespace) -> Any:
    """The function with its arguments; decorated here, so that ``--fresh`` holds."""
    from jitwarmup.api.decorator import warmed
    from jitwarmup.api.warmed import Warmed

    function = resolve(name)
    args, kwargs = arguments(asked.args, "--args", list), arguments(asked.kwargs, "--kwargs", dict)
    if isinstance(function, Warmed):
        return functools.partial(function, *args, **kwargs)
    fresh = resolve(asked.fresh) if asked.fresh else None
    if inspect.isclass(function):
        function = made_by(function)
    return functools.partial(warmed(fresh=fresh)(function), *args, **kwargs)


def made_by(kind: Callable[..., Any]) -> Callable[..., Any]:
    """A class as the function that makes its objects, under the class's name."""

    def make(*args: Any, **kwargs: Any) -> Any:
        return kind(*args, **kwargs)

    make.__module__, make.__qualname__ = kind.__module__, kind.__qualname__
    return make


# ------------------------------------------------------------------ what comes out


def save(asked: argparse.Namespace, outcome: Outcome, comparison: Comparison | None, judged: Sequence[Judged]) -> None:
    """The reports as JSON lines, and the Markdown summary."""
    if asked.save and outcome.reports:
        save_text(asked.save, "".join(json.dumps(report.to_dict()) + "\n" for report in outcome.reports))
    if asked.markdown and outcome.reports:
        parts = [report_markdown(report) for report in outcome.reports]
        parts += [comparison_markdown(comparison, judged)] if comparison is not None else []
        append_text(asked.markdown, "\n".join(parts))


def show(asked: argparse.Namespace, outcome: Outcome, comparison: Comparison | None, judged: Sequence[Judged]) -> None:
    """The result on stdout, as one JSON document or as text."""
    if asked.json:
        reports = [report.to_dict() for report in outcome.reports]
        found: dict[str, Any] = {"reports": reports, "interrupted": outcome.interrupted}
        if comparison is not None:
            found |= {"comparison": comparison.to_dict(), "gates": [one.to_dict() for one in judged]}
        print(json.dumps(found))
        return
    paint, wide = painter(asked), width()
    shown = outcome.reports[: 1 if asked.processes > 1 else None]
    parts = [summary(report, wide, paint, message=True) for report in shown]
    parts += [comparison_text(comparison, judged, wide, paint)] if comparison is not None else []
    if parts:
        print("\n\n".join(parts))
