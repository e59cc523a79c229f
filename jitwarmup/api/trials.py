"""
``for trial in steady.trials(): with trial: ...``: the plan, carried out by the user's own loop.

A loop pumps the same course as every other spelling; its runs are the bodies of ``with trial:``.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from jitwarmup.engine import drivers, procedures
from jitwarmup.engine.commands import CallResult, Ending, RunRequest
from jitwarmup.engine.measurement import Measurement
from jitwarmup.engine.procedures import Keep
from jitwarmup.engine.timed_region import RunOutcome, TimedRegion
from jitwarmup.records.errors import ArgumentError, Overlap
from jitwarmup.records.runs import Phase


class Trial:
    """One pass through the loop: validation, warm-up or a measured run (``phase``). Enter it once, in its own pass."""

    def __init__(self, loop: TrialLoop, command: RunRequest) -> None:
        self._loop = loop
        self._command = command
        self._window: TimedRegion | None = None
        self.taken: RunOutcome | None = None
        self.entered = False

    @property
    def phase(self) -> Phase:
        """What this pass is for."""
        return self._command.step.phase

    def __enter__(self) -> Self:
        if self.entered:
            raise Overlap("this trial was entered before; wanted one 'with trial:' in each pass of the loop")
        if self._loop.current is not self:
            raise ArgumentError(
                "this trial was used outside its loop; wanted 'for trial in steady.trials(): with trial: ...'"
            )
        self.entered = True
        command = self._command
        assert command.session is not None  # noqa: S101 - only calls that step aside have none
        self._window = TimedRegion(command.session, command.step, command.clock)
        self._window.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._window is not None:
            self._window.__exit__(kind, error, trace)
            self.taken = self._window.taken()
            self._window = None
            late = self.taken.error
            if late is not None:  # the loop will not come round again: conclude now, and let the exception pass
                self._loop.settle(self.taken)
            if error is None and late is not None:
                raise late  # the device failed after the body had started the work

    def abandon(self) -> None:
        """An interrupt came between two steps of ours: the run is no run."""
        if self._window is not None:
            self._window.abandon()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


class TrialLoop:
    """The course of one ``trials()`` loop, and the trial that is under way."""

    def __init__(self, measurement: Measurement, keep: Keep) -> None:
        self._measurement = measurement
        self._keep = keep
        self._course = procedures.trials(measurement, keep)
        self._done = False
        self.current: Trial | None = None

    def advance(self) -> Trial | None:
        """The next trial, or None when the plan is carried out."""
        if self._done:
            return None
        previous = self.current
        if previous is None:
            return self.settle(None)
        if previous.taken is None:
            raise ArgumentError(
                f"a trial ({previous.phase}) was skipped; wanted 'with trial:' around the code in every pass of the loop"
            )
        return self.settle(previous.taken)

    def settle(self, taken: RunOutcome | None) -> Trial | None:
        """Send the course what came of a trial."""
        self.current = None
        command = drivers.through(self._course, taken)
        if isinstance(command, CallResult):
            self._done = True
            return None
        self.current = Trial(self, command)
        return self.current

    def leave(self) -> None:
        """The loop was left early: conclude with what there is."""
        if not self._done and self.current is not None and self.current.taken is not None:
            self.settle(self.current.taken)  # the pass that was left by `break` was made all the same
        if self._done:
            return
        self._done = True
        if self.current is not None:
            self.current.abandon()
        self.current = None
        self._course.close()
        if self._measurement.runs:
            self._measurement.end = Ending.LEFT
            procedures.conclude(self._measurement, self._keep)
