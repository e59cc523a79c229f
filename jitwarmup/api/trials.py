"""
``for trial in steady.trials(): with trial: ...``: the plan, carried out by the user's own loop.

A loop drives the same procedure as every other spelling; its runs are the bodies of ``with trial:``.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from jitwarmup.engine import drivers, procedures
from jitwarmup.engine.commands import CallResult, Ending, RunRequest
from jitwarmup.engine.measurement import Measurement
from jitwarmup.engine.procedures import Keep
from jitwarmup.engine.timed_region import RunOutcome, TimedRegion
from jitwarmup.events.guard import FAULTS
from jitwarmup.records.errors import ArgumentError, Overlap
from jitwarmup.records.runs import Phase


class Trial:
    """One pass through the loop: validation, warm-up or a measured run (``phase``). Enter it once, in its own pass."""

    def __init__(self, loop: TrialLoop, request: RunRequest) -> None:
        self._loop = loop
        self._request = request
        self.region: TimedRegion | None = None
        self.outcome: RunOutcome | None = None
        self.entered = False

    @property
    def phase(self) -> Phase:
        """What this pass is for."""
        return self._request.step.phase

    def __enter__(self) -> Self:
        if self.entered:
            raise Overlap("this trial was entered before; wanted one 'with trial:' in each pass of the loop")
        if self._loop.current is not self:
            raise ArgumentError(
                "this trial was used outside its loop; wanted 'for trial in steady.trials(): with trial: ...'"
            )
        self.entered = True
        request = self._request
        assert request.instruments is not None  # noqa: S101 - only calls that pass through have none
        self.region = TimedRegion(request.instruments, request.step, request.clock)
        self.region.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.region is None:
            return
        late = None
        try:
            self.region.__exit__(kind, error, trace)
            self.outcome = self.region.outcome()
            self.region = None
            late = self.outcome.error
            if late is not None:  # the loop will not come round again: conclude now, and let the exception pass
                self._loop.finish(self.outcome)
        except BaseException as fault:
            if error is None:
                raise
            FAULTS.contain(fault)
        if error is None and late is not None:
            raise late  # the device failed after the body had started the work

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


class TrialLoop:
    """The procedure of one ``trials()`` loop, and the trial that is under way."""

    def __init__(self, measurement: Measurement, keep: Keep) -> None:
        self._measurement = measurement
        self._keep = keep
        self._procedure = procedures.trials(measurement, keep)
        self._done = False
        self.current: Trial | None = None

    def advance(self) -> Trial | None:
        """The next trial, or None when the plan is carried out."""
        if self._done:
            return None
        previous = self.current
        if previous is not None and previous.outcome is None:
            raise ArgumentError(
                f"a trial ({previous.phase}) was skipped; wanted 'with trial:' around the code in every pass of the loop"
            )
        return self.finish(None if previous is None else previous.outcome)

    def finish(self, outcome: RunOutcome | None) -> Trial | None:
        """Send the procedure what came of a trial."""
        self.current = None
        request = drivers.through(self._procedure, outcome)
        if isinstance(request, CallResult):
            self._done = True
            return None
        self.current = Trial(self, request)
        return self.current

    def leave(self) -> None:
        """The loop was left early: conclude with what there is."""
        if not self._done and self.current is not None and self.current.outcome is not None:
            self.finish(self.current.outcome)  # the pass that was left by `break` was made all the same
        if self._done:
            return
        self._done = True
        if self.current is not None and self.current.region is not None:
            self.current.region.abandon()  # an interrupt came between two steps of ours: the run is no run
        self.current = None
        self._procedure.close()
        if self._measurement.runs:
            self._measurement.end = Ending.LEFT
            procedures.conclude(self._measurement, self._keep)
