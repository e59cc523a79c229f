"""
``with steady_state(...)``: the same engine around code that is not decorated, and settings for what is inside.

The block itself is one timed region (``block``). Inside, ``measure`` runs a plan on any callable, and ``trials`` runs it
on an inline block.
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from jitwarmup.api import processes as others
from jitwarmup.api.block import Block, as_warmed, inline_function
from jitwarmup.api.interleave import interleave
from jitwarmup.api.trials import Trial, TrialLoop
from jitwarmup.engine import procedures
from jitwarmup.engine.commands import Call, CallResult, Procedure
from jitwarmup.engine.options import UNSET, BlockSettings
from jitwarmup.events.guard import Fanout
from jitwarmup.records.checks import checking
from jitwarmup.records.errors import ArgumentError, Overlap
from jitwarmup.records.report import Report


class SteadyState(Block):
    """
    A block, and what can be measured in it. Made by ``steady_state``; entered once.

    ``block`` is the Run of the body after the exit; ``reports`` what was measured in it.
    """

    def measure(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """
        Run the whole plan on any callable: validate, warm up, measure.

        Args:
            function: any callable, decorated or not; of a decorated one its ``__wrapped__`` is measured and its key
                is warm afterwards.
            *args: its arguments.
            **kwargs: its keyword arguments.

        Returns:
            A Report; an awaitable of one where the function is asynchronous.

        Raises:
            ArgumentError: the function or its arguments cannot be measured, or the block is not open.
            Overlap: this block is measuring something already.

        """

        def alone(call: Call) -> Procedure:
            with self._one_at_a_time():
                work = others.packed((function, args, kwargs), self._settings, self._instruments.ranks())
                result: CallResult = yield from procedures.measure(call, self._reports.append)
                if work is not None and result.error is None:
                    result.value = self._reports[-1] = others.repeat(result.value, work, measure_packed)
                return result

        return as_warmed(function)._carry_out(alone, args, kwargs, self._settings, explicit=True)

    def interleave(self, *functions: Callable[..., Any]) -> Any:
        """
        Measure several functions side by side, run by run, so that what the host does meets all of them alike.

        Args:
            functions: callables, decorated or not; arguments through ``functools.partial``.

        Returns:
            A tuple with a Report for each; an awaitable of it where the functions are asynchronous.

        Raises:
            ArgumentError: the functions are of different kinds, or one cannot be measured.
            Overlap: this block is measuring something already.

        """
        parts = [each if isinstance(each, partial) else partial(as_warmed(each)) for each in functions]
        calls = [(as_warmed(part.func), part.args, part.keywords) for part in parts]
        return interleave(calls, self._settings, self._reports.append, self._one_at_a_time)

    def trials(self) -> Iterator[Trial]:
        """
        Repeat an inline block: validate, warm up, then measure.

            for trial in steady.trials():
                with trial:
                    model.generate(**inputs)

        Raises:
            ArgumentError: the block is not open, or a trial was skipped.
            Overlap: this block is measuring something already, or a trial is entered twice.

        """
        self._check_open()
        loop = TrialLoop(inline_function(self._instruments, self._name, self._settings), self._reports.append)
        self._loops.add(loop)
        return self._iterate(loop)

    def _iterate(self, loop: TrialLoop) -> Iterator[Trial]:
        """Trials until the plan is carried out; leaving the loop early ends it."""
        with self._one_at_a_time():
            try:
                yield from iter(loop.advance, None)
            finally:
                loop.leave()

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Refuse a second measurement in the same block while one is under way."""
        self._check_open()
        if not self._lock.acquire(blocking=False):
            raise Overlap(
                "this steady_state() block is measuring already; wanted one measurement at a time: wait for it, or give "
                "each thread or task a block of its own"
            )
        try:
            yield
        finally:
            self._lock.release()

    def _check_open(self) -> None:
        if self._region is None:
            raise ArgumentError(
                "this steady_state() block is not open; wanted its measure() and trials() inside "
                "'with steady_state(...) as steady:'"
            )


def measure_packed(work: bytes) -> others.Answer:
    """In a fresh process: measure, in silence, and give back the median, or what the function raised."""
    import asyncio  # only here, where it can wait

    (function, args, kwargs), settings = pickle.loads(work)  # noqa: S301 - from the pipe of our own parent
    with SteadyState(None, (), BlockSettings(**settings, log=Fanout())) as steady:
        measured = steady.measure(function, *args, **kwargs)
        report: Report = asyncio.run(measured) if inspect.iscoroutine(measured) else measured
    return (None, report.failure.type) if report.failure is not None else (report.latency_s, None)


def steady_state(  # noqa: D417 - the options that it has in common with `warmed` are described there
    function: Callable[..., Any] | None = None,
    /,
    *args: Any,
    iterations: Any = UNSET,
    measurements: int = UNSET,
    monitor: Any = UNSET,
    probes: Any = UNSET,
    log: Any = UNSET,
    clock: Any = UNSET,
    ranks: Any = UNSET,
    name: str | None = UNSET,
    budget_s: float | None = UNSET,
    on_contamination: str = UNSET,
    accept: Callable[[Any], bool] | None = UNSET,
    processes: int = UNSET,
    log_messages: bool = UNSET,
) -> SteadyState:
    """
    A block whose body is timed at steady state, and in which things are measured.

    With a function, entering validates it and warms it up (monitor paused), and the body is the timed region; keyword
    arguments go through ``functools.partial``. Without one the body is timed as it is. Settings given explicitly hold
    for warmed functions called inside: inner block > outer block > decorator > default. ``async with`` works too.

    Args:
        function: what to warm up on entry, or None.
        args: its arguments.
        iterations, measurements, name, budget_s, on_contamination, accept, log_messages: as those of ``warmed``.
        monitor: an object with pause, resume and window(name); started and stopped here if it is not running.
        probes: further probes of one-time work.
        log: where events go: an Emitter, a structlog logger or a ``logging.Logger``.
        clock: an object with ``now() -> int`` (ns) and ``fence()``.
        ranks: the ranks that measure in step, as with ``warmed``; by default all where torch.distributed is initialised.
            None to agree with nobody (a block that one rank alone enters).
        processes: processes that ``measure`` is made in (1), this one included; ``report.processes`` summarises them, and
            a reason ``process_missing`` of the verdict counts those that were killed, crashed, exited or raised.

    Raises:
        ArgumentError: a setting cannot work.

    """
    given = {name: value for name, value in locals().items() if name not in ("function", "args")}
    if function is None and args:
        raise ArgumentError("steady_state() got arguments without a function; wanted steady_state(function, *args)")
    with checking("steady_state"):
        settings = BlockSettings.checked(**given)
    return SteadyState(function, args, settings)
