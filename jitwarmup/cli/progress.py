"""Drawing on a terminal between runs, outside every timed window. Where stderr is no terminal, nothing is drawn."""

from __future__ import annotations

import sys
from typing import TextIO

from jitwarmup.model.runs import Run
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

    def __call__(self, run: Run) -> None:
        """Draw one run."""
        if self._out is None or not self._out.isatty():
            return
        self.drawn += 1
        self._out.write(line(run) + "\n")
        self._out.flush()


def line(run: Run) -> str:
    """A run in words."""
    marks = [work.kind for work in run.work if work.recurrence == "one_time"]
    paid = f"  paid for {', '.join(dict.fromkeys(marks))}" if marks else ""
    failed = f"  {run.error_type}" if run.error_type else ""
    return f"  {run.phase:9} {run.index + 1:3}  {span(run.duration_s):>9}{paid}{failed}"
