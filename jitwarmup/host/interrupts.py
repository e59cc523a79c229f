"""
Which exceptions are interrupts, and whether a run answered one itself, by a value: cancelled as a task, or by Ctrl-C.

A task counts how often it was cancelled. For SIGINT a handler stands around the run: it counts, and does what the handler
that was there does; that one is back when the run is over. Only the main thread may set one, and only a handler written
in Python can be handed on to.
"""

from __future__ import annotations

import _thread
import functools
import gc
import inspect
import opcode
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

RAISES_NOTHING = {opcode.opmap[name] for name in ("RESUME", "JUMP_BACKWARD")}  # where Python looks for interrupts


def is_interrupt(error: BaseException) -> bool:
    """
    Whether an exception that met our code, or a sink, monitor, hook, probe or rule that we call, goes on to the caller.

    The one rule for all of these: an interrupt of the user's does (KeyboardInterrupt, a greenlet's time-out, whatever a
    signal handler or another thread raises); an ``Exception`` of theirs does not, nor do the SystemExit, GeneratorExit
    and CancelledError that they raise themselves.
    """
    own = isinstance(error, Exception | SystemExit | GeneratorExit) or type(error).__name__ == "CancelledError"
    return not own or from_outside(error)


def from_outside(error: BaseException) -> bool:
    """
    Whether a signal handler raised it, or another thread (``PyThreadState_SetAsyncExc``), where that can be known.

    A handler is the one function that gets a number and the very frame that it interrupted. What another thread raised
    is known where it met an instruction that raises nothing of its own: the beginning of a function, or of a loop's round.
    """
    trace, interrupted = error.__traceback__, None
    while trace is not None:
        frame = trace.tb_frame
        if interrupted is not None and is_handler(frame, interrupted):
            return True
        interrupted, last, trace = frame, trace.tb_lasti, trace.tb_next
    if interrupted is None:
        return False
    code = interrupted.f_code.co_code[last : last + 2]
    return len(code) > 1 and code[0] in RAISES_NOTHING and not (code[0] == opcode.opmap["RESUME"] and code[1])


def is_handler(frame: FrameType, interrupted: FrameType) -> bool:
    """
    Whether a frame is a signal handler's, which was called with ``(number, interrupted)``.

    Looked at without ``f_locals``, which would keep alive what the frame holds.
    """
    starred = frame.f_code.co_flags & inspect.CO_VARARGS
    if frame.f_code.co_argcount < 2 and not starred:
        return False
    held = gc.get_referents(frame)
    found = sum(each is interrupted for each in held) > links_to_caller()
    return found or bool(starred and any(interrupted is part for each in held if type(each) is tuple for part in each))


@functools.cache
def links_to_caller() -> int:
    """How often a frame that is over refers to its caller's, in this version of Python."""

    def raises() -> None:
        raise LookupError

    try:
        raises()
    except LookupError as error:
        frame = error.__traceback__.tb_next.tb_frame  # type: ignore[union-attr]  # it was raised one call down
    return sum(each is frame.f_back for each in gc.get_referents(frame))


def signal_of(error: BaseException) -> int | None:
    """The signal whose handler raised it; None where none did."""
    trace, interrupted = error.__traceback__, None
    while trace is not None:
        frame = trace.tb_frame
        if interrupted is not None and is_handler(frame, interrupted):
            given = [
                each for value in frame.f_locals.values() for each in (value if type(value) is tuple else (value,))
            ]
            return next((each for each in given if type(each) is int and each in signal.valid_signals()), None)
        interrupted, last, trace = frame, trace.tb_lasti, trace.tb_next
    if interrupted is None or not isinstance(error, KeyboardInterrupt):
        return None
    raised = interrupted.f_code.co_code[last] == opcode.opmap["RAISE_VARARGS"]
    return None if raised else signal.SIGINT  # Python's own handler, which has no frame


def send_again(error: BaseException) -> None:
    """
    Do not lose an interrupt that came where Python lets nothing out, in a collector's callback that catches it.

    Its signal is sent again, by a thread that waits until this one is out of the callback: the handler runs anew, since
    nothing else would reach a thread that blocks by then.
    """
    number, callback, thread = signal_of(error), sys._getframe(1), threading.get_ident()
    if number is None or not hasattr(signal, "pthread_kill"):
        return

    def send() -> None:
        while (frame := sys._current_frames().get(thread)) is not None:
            while frame is not None and frame is not callback:
                frame = frame.f_back
            if frame is None:
                signal.pthread_kill(thread, number)
                return
            time.sleep(0)

    with suppress(RuntimeError):  # no more threads
        _thread.start_new_thread(send, ())  # threading's own waits for it to begin


class Contained:
    """``with Contained():`` what fails in it is passed over; interrupts go on."""

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return error is not None and not is_interrupt(error)


def cancellations() -> int:
    """How often the current asyncio task was asked to stop; 0 where there is none."""
    asyncio = sys.modules.get("asyncio")
    try:
        task = None if asyncio is None else asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return 0
    return 0 if task is None else int(task.cancelling())


class InterruptWatch:
    """Entered around one run, or around each of its steps; ``answered`` then says whether an interrupt came that the run did not raise."""

    __slots__ = ("answered", "asynchronous", "before", "installed", "theirs")

    def __init__(self, *, asynchronous: bool) -> None:
        self.asynchronous = asynchronous
        self.answered = False
        self.before = 0
        self.theirs: Any = None
        self.installed: Any = None

    def __enter__(self) -> Self:
        if self.asynchronous:
            self.before = cancellations()
        elif threading.current_thread() is threading.main_thread():
            self.install()
        return self

    def install(self) -> None:
        """Stand before the handler of SIGINT."""
        theirs = signal.getsignal(signal.SIGINT)
        if not callable(theirs):
            return

        def hear(number: int, frame: FrameType | None) -> Any:
            self.answered = True
            return theirs(number, frame)

        self.theirs = theirs
        try:
            signal.signal(signal.SIGINT, hear)
        except ValueError:  # in a subinterpreter
            return
        self.installed = hear

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.asynchronous:
            self.answered = self.answered or cancellations() > self.before
        elif self.installed is not None and signal.getsignal(signal.SIGINT) is self.installed:
            signal.signal(signal.SIGINT, self.theirs)  # else the run has set one, which stays
