"""
Whether a run was interrupted and answered that itself, by a value: cancelled as a task, or by Ctrl-C.

A task counts how often it was cancelled. For SIGINT a handler stands around the run: it counts, and does what the handler
that was there does; that one is back when the run is over. Only the main thread may set one, and only a handler written
in Python can be handed on to.
"""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Self


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
