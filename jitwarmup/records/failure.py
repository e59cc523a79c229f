"""Why a measurement ended early: the one place where a user's exception becomes data."""

from __future__ import annotations

import gc
import inspect
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType

from jitwarmup.records.codec import TRANSIENT, Record
from jitwarmup.records.runs import Phase, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure(Record):
    """
    Why a measurement ended early.

    Fields:
        phase: the phase of the run that failed.
        index: its number within the phase, from 0.
        type: name of the exception's class.
        message: the exception's text, which may hold values of the user's: it stays in the report, out of every event.
        traceback: the whole traceback as text; likewise.
        rank: the rank that failed, where another one did, else None.
        exception: the original, in the process where it happened; None after ``from_dict``.
    """

    phase: Phase
    index: int
    type: str
    message: str
    traceback: str
    rank: int | None = None
    exception: BaseException | None = field(default=None, compare=False, repr=False, metadata={TRANSIENT: True})

    @classmethod
    def of(cls, run: Run, error: BaseException) -> Failure:
        """The failure of ``run``; the frames of the traceback are cleared so that no tensor is kept alive by it."""
        text = "".join(traceback.format_exception(error))
        clear_frames(error)
        name = type(error).__name__
        return cls(phase=run.phase, index=run.index, type=name, message=text_of(error), traceback=text, exception=error)


def text_of(error: BaseException) -> str:
    """What an exception says, also where saying it fails; as ``traceback`` words it."""
    return str(traceback.TracebackException(type(error), error, None))


def clear_frames(error: BaseException) -> None:
    """
    Drop the locals that an exception, its causes, its contexts and (of a group) its members keep alive.

    Not those of a generator or coroutine that has caught one of them and goes on: clearing its frame would close it.
    """
    seen: dict[int, BaseException] = {}
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen[id(found)] = found
        for frame, _ in traceback.walk_tb(found.__traceback__):
            if not is_suspended(frame):
                with suppress(RuntimeError):  # it runs
                    frame.clear()
        members = found.exceptions if isinstance(found, BaseExceptionGroup) else ()
        waiting += [found.__cause__, found.__context__, *members]


def is_suspended(frame: FrameType) -> bool:
    """Whether a generator or coroutine stands still in this frame, and may go on."""
    kinds = {GeneratorType: "gi_frame", CoroutineType: "cr_frame", AsyncGeneratorType: "ag_frame"}
    lasting = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
    if not frame.f_code.co_flags & lasting:
        return False
    return any(getattr(one, kinds.get(type(one), ""), None) is frame for one in gc.get_referrers(frame))
