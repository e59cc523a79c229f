"""
Drawing on a terminal between runs, outside every timed window. Where stderr is no terminal, nothing is drawn.

With tqdm (transformers brings it) it is one live line, without it one line for each run. Nothing is drawn by a thread or
a timer: a refresh in the middle of a timed run would be part of what is timed.
"""

from __future__ import annotations

import sys
from typing import Any, Self, TextIO

from jitwarmup.records.runs import Phase, Run
from jitwarmup.records.text import one_line
from jitwarmup.records.units import span


class Progress:
    """Draws each run as it ends, of ``warm`` and ``measure`` expected ones (None: nobody knows), where ``out`` is a terminal."""

    def __init__(self, out: TextIO | None = None, *, warm: int | None = None, measure: int | None = None) -> None:
        out = out if out is not None else sys.stderr
        self._out = out if out is not None and out.isatty() else None
        self._expected = {Phase.VALIDATE: 1, Phase.WARM: warm, Phase.MEASURE: measure}
        self._done = dict.fromkeys(Phase, 0)
        self._bar: Any = None

    def __enter__(self) -> Self:
        if self._out is not None:
            self._bar = live_line(self._out)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, run: Run) -> None:
        """Draw one run."""
        self._done[run.phase] += 1
        if self._bar is not None:
            self._bar.total, self._bar.n = self._expected[run.phase], self._done[run.phase]
            self._bar.set_description_str(line(run).strip())
        elif self._out is not None:
            print(line(run), file=self._out, flush=True)


def live_line(out: TextIO) -> Any:
    """One line that changes; None where tqdm is not installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None

    quiet = type("Quiet", (tqdm,), {"monitor_interval": 0})  # no thread that refreshes
    return quiet(total=1, file=out, leave=False, bar_format="{bar:24} {n_fmt}/{total_fmt} {desc}", dynamic_ncols=True)


def line(run: Run) -> str:
    """A run in words."""
    marks = [work.kind for work in run.work if work.recurrence == "one_time"]
    paid = f"  paid for {', '.join(dict.fromkeys(marks))}" if marks else ""
    failed = f"  {run.error_type}" if run.error_type else ""
    return one_line(f"  {run.phase:9} {run.index:3}  {span(run.duration_s):>9}{paid}{failed}")
