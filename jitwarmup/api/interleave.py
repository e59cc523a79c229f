"""
Several functions measured side by side in one process: the only fair comparison on a host that is not quiet.

    old  validate ─ warm ─ warm ─┐ measure ─ ─ ─ ─ measure ─ measure ─ ─ ─
    new  ─ validate ─ warm ─ warm┘ ─ measure ─ measure ─ ─ ─ ─ measure ─ ─

Each function has its own procedure, the same as for ``measure``; here is only which one runs next. Measuring begins when all
are warm, and the order is reversed from round to round, so that neither drift nor being second favours anybody.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from jitwarmup.api.warmed import Warmed
from jitwarmup.engine import drivers, procedures
from jitwarmup.engine.agreement import AllGather
from jitwarmup.engine.callables import CallableKind
from jitwarmup.engine.commands import CallResult, Procedure, RunRequest
from jitwarmup.engine.function import WarmedFunction
from jitwarmup.engine.options import BlockSettings
from jitwarmup.keys.single_flight import Wait
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.protocols import Exchanged
from jitwarmup.records.report import Report
from jitwarmup.records.runs import Phase


class Participant:
    """One function's procedure, and its next request."""

    def __init__(self, procedure: Procedure) -> None:
        self.procedure = procedure
        self.request: Any = None

    def send(self, outcome: Any) -> None:
        """Send the procedure what came of its request."""
        self.request = drivers.advance(self.procedure, outcome)

    @property
    def measures(self) -> bool:
        """Whether its next run is a measured one."""
        return isinstance(self.request, RunRequest) and self.request.step.phase is Phase.MEASURE


def interleaved(makes: Sequence[drivers.Make]) -> Procedure:
    """
    One procedure made of several, whose result holds the value of each; an interruption of one ends all.

    All are begun before any run is made, so that each notes, and restores, the same random streams.
    """
    participants = [Participant(make()) for make in makes]
    try:
        for participant in participants:
            participant.send(None)
        backwards = False
        lost: list[Exchanged] = []
        while unfinished := [each for each in participants if not isinstance(each.request, CallResult)]:
            preparing = [each for each in unfinished if not each.measures]
            order = preparing or unfinished
            for participant in reversed(order) if backwards else order:  # first, second, second, first, ...
                yield from waited(participant, lost)
                if isinstance(participant.request, RunRequest):
                    outcome = yield participant.request
                    participant.send(outcome)
                    del outcome
                yield from waited(participant, lost)
                if isinstance(participant.request, CallResult) and participant.request.error is not None:
                    return participant.request
            backwards = not backwards
    finally:
        for participant in participants:
            participant.procedure.close()
    return CallResult(tuple(participant.request.value for participant in participants))


def waited(participant: Participant, lost: list[Exchanged]) -> Generator[Wait, Any, None]:
    """Wait for other callers, or other ranks, which learn of each run at once; ranks that one participant lost, all have lost."""
    while isinstance(participant.request, Wait):
        answer = lost[0] if lost and isinstance(participant.request, AllGather) else (yield participant.request)
        if isinstance(answer, Exchanged) and answer.lost is not None:
            lost.append(answer)
        participant.send(answer)


def distinct(functions: Sequence[Warmed[Any, Any]]) -> list[Warmed[Any, Any]]:
    """The functions, a second use of one replaced by a cold copy: two procedures of one key would wait for each other."""
    seen: list[Warmed[Any, Any]] = []
    for function in functions:
        again = any(function._core is other._core for other in seen)
        seen.append(copy.copy(function) if again else function)
    return seen


def one_kind(cores: Sequence[WarmedFunction]) -> CallableKind:
    """The kind that all have in common; ArgumentError where they have none, since one driver runs them."""
    kinds = {core.kind for core in cores}
    if len(kinds) == 1:
        return kinds.pop()
    kinds_by_name = ", ".join(f"{core.name} ({core.kind.value})" for core in cores)
    raise ArgumentError(
        f"got functions of different kinds: {kinds_by_name}; wanted all of one kind: wrap one in the other's"
    )


def interleave(
    calls: Sequence[tuple[Warmed[Any, Any], tuple[Any, ...], dict[str, Any]]],
    settings: BlockSettings,
    keep: Callable[[Report], None],
    alone: Callable[[], AbstractContextManager[None]],
) -> Any:
    """
    Measure several calls, entered ``alone``, side by side; a tuple of Reports, or an awaitable of one.

    ``keep`` gets each report in the order of ``calls``, also where the measurement is interrupted.
    """
    warmed = distinct([function for function, _, _ in calls])
    kind = one_kind([function._core for function in warmed])
    kept: dict[int, Report] = {}

    def make(at: int) -> Procedure:
        _, args, kwargs = calls[at]
        prefix, rest = warmed[at]._split(args)
        call = warmed[at]._core.call(prefix, rest, kwargs, explicit=True, settings=settings)
        return procedures.measure(call, functools.partial(kept.__setitem__, at))

    def whole() -> Procedure:
        with alone():
            try:
                return (yield from interleaved([functools.partial(make, at) for at in range(len(calls))]))
            finally:
                for at in sorted(kept):
                    keep(kept[at])

    return drivers.acall(whole, kind) if kind.asynchronous else drivers.call(whole, kind)
