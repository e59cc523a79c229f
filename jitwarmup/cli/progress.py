"""
Drawing on a terminal between runs, outside every timed window. Where stderr is no terminal, nothing is drawn.

With rich (extra ``cli``) it is one live line, without it one line for each run. Nothing is drawn by a thread or a timer:
a refresh in the middle of a timed run would be part of what is timed.
"""

from __future__ import annotations

import importlib.util
import sys
from types import TracebackType
from typing import Any, Self, TextIO

from jitwarmup.records.runs import Phase, Run
from jitwarmup.views.text import span


class Progress:
    """
    One line for each run as it ends.

    Args:
        out: where to draw; nothing is drawn where it is no terminal.

    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out if out is not None else sys.stderr
        self.drawn = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to undo."""

    def __call__(self, run: Run) -> None:
        """Draw one run."""
        if self._out is None or not self._out.isatty():
            return
        self.drawn += 1
        self._out.write(line(run) + "\n")
        self._out.flush()


class LiveProgress(Progress):
    """
    One line that changes, by rich; it is gone when the measurement is over.

    Args:
        out: the terminal.
        warm, measure: how many runs of each phase are expected; None where nobody knows.

    """

    def __init__(self, out: TextIO, *, warm: int | None, measure: int, color: bool = True) -> None:
        super().__init__(out)
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        self._wanted = {Phase.VALIDATE: 1, Phase.WARM: warm, Phase.MEASURE: measure}
        self._done = dict.fromkeys(Phase, 0)
        self._bar = Bar(
            TextColumn("{task.description:8}"),
            BarColumn(24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[last]}", table_column=no_wrap()),
            console=Console(file=out, no_color=not color),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: Any = None

    def __enter__(self) -> Self:
        self._bar.start()
        self._task = self._bar.add_task("validate", total=1, last="the first run pays for everything")
        self._bar.refresh()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, run: Run) -> None:
        """Draw one run."""
        self.drawn += 1
        self._done[run.phase] += 1
        done, total = self._done[run.phase], self._wanted[run.phase]
        self._bar.update(
            self._task, description=run.phase.value, completed=done, total=total, last=line(run).split(maxsplit=2)[2]
        )
        self._bar.refresh()


def no_wrap() -> Any:
    """A column that is cut where the terminal ends."""
    from rich.table import Column

    return Column(no_wrap=True, overflow="ellipsis")


def progress(*, warm: int | None, measure: int, color: bool = True, out: TextIO | None = None) -> Progress:
    """What draws on this terminal: live with rich, lines without it, nothing where stderr is no terminal."""
    stream = out if out is not None else sys.stderr
    if stream is None or not stream.isatty() or not has_rich():
        return Progress(stream)
    return LiveProgress(stream, warm=warm, measure=measure, color=color)


def has_rich() -> bool:
    """Whether rich is installed."""
    try:
        return importlib.util.find_spec("rich") is not None
    except ValueError:  # sys.modules["rich"] is None: somebody says it is not
        return False


def line(run: Run) -> str:
    """A run in words."""
    marks = [work.kind for work in run.work if work.recurrence == "one_time"]
    paid = f"  paid for {', '.join(dict.fromkeys(marks))}" if marks else ""
    failed = f"  {run.error_type}" if run.error_type else ""
    return f"  {run.phase:9} {run.index + 1:3}  {span(run.duration_s):>9}{paid}{failed}"
