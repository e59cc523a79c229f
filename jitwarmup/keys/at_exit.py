"""
On the way out: what was counted and not emitted yet is emitted before the process ends.

    normal exit            an exit hook
    a child of             ``multiprocessing`` runs no exit hooks in forked children, but its own finalizers
    SIGTERM, SIGINT        where nobody handles them they end the process at once, so a handler of ours stands in front of
                           what was there: it has everything emitted, and then lets that have the signal
    an ASGI server         the lifespan and the readiness application call `flush_all` when they are left

Nothing is emitted inside of a handler, which may stand in the middle of any code, ours too: a thread of its own does it,
while the interrupted code goes on. What cannot be caught (SIGKILL, ``os._exit``) loses what came since the last summary.
"""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any, Final, Protocol

from jitwarmup.events.guard import flush_queues
from jitwarmup.host.fork_safe import after_fork_in_child, snapshot_of

PERIOD_S: Final = 60.0
HURRY_S: Final = 30.0  # after a signal, each call is emitted at once for so long: what servers grant requests under way
ENDING_S: Final = 5.0  # after which the signal ends the process, emitted or not
PATIENCE_S: Final = 1.0  # how long the end waits for threads that are in the middle of counting


class Flushable(Protocol):
    """Something that holds what was not emitted yet."""

    def flush(self) -> None: ...


class Leaving:
    """What this process has to emit before it ends, and whether it is about to."""

    def __init__(self) -> None:
        self.pending: weakref.WeakSet[Flushable] = weakref.WeakSet()
        self.begin()

    def begin(self) -> None:
        """A new process: no thread counts yet, nothing is armed, nobody wants it to end."""
        self.counting: set[int] = set()  # threads that hold counts which nobody else can see at the moment
        self.finalizer: Any = None
        self.hurry_until = -1.0
        self.signum: int | None = None  # of the signal that shall end the process once everything is emitted

    def undisturbed(self, work: Callable[[], Any]) -> None:
        """Do it; whoever ends the process waits for it."""
        thread = _thread.get_ident()
        nested = thread in self.counting
        self.counting.add(thread)
        try:
            work()
        finally:
            if not nested:
                self.counting.discard(thread)

    def wait_for_others(self) -> None:
        """Until no other thread is in the middle of counting, for a while."""
        deadline = time.monotonic() + PATIENCE_S
        while self.counting - {_thread.get_ident()} and time.monotonic() < deadline:
            time.sleep(0.001)

    def flush_all(self) -> None:
        """Emit all that was counted."""
        for summary in snapshot_of(self.pending):
            summary.flush()
        flush_queues()

    def end(self) -> None:
        """Emit all, and then let the signal end the process, if that is what it is to do."""
        try:
            self.wait_for_others()
            self.flush_all()
            self.wait_for_others()
        finally:
            self.obey()

    def obey(self, after_s: float = 0.0) -> None:
        """Let the signal that shall end the process do so."""
        time.sleep(after_s)
        if self.signum is not None:
            os.kill(os.getpid(), self.signum)

    def arm(self) -> None:
        """Be called before this process ends. As often as one likes: handlers come and go, and only the main thread sets some."""
        util: Any = sys.modules.get("multiprocessing.util")
        # a child forgets what was registered before it came to its own work, as by the decorators of its main module
        if util is not None and not (self.finalizer is not None and self.finalizer.still_active()):
            self.finalizer = util.Finalize(None, self.flush_all, exitpriority=100)
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGTERM", "SIGINT", "SIGQUIT"):  # Windows has no SIGQUIT
                if (signum := getattr(signal, name, None)) is not None:
                    put_in_front(signum)


LEAVING: Final = Leaving()
flush_all: Final = LEAVING.flush_all
atexit.register(LEAVING.end)
# no bound method: weak references to those of what a module holds complain while the interpreter ends
after_fork_in_child(lambda: LEAVING.begin())  # noqa: PLW0108


class InFront:
    """A signal handler in front of another one, which gets every signal afterwards."""

    def __init__(self, behind: Any) -> None:
        self.behind = behind

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        LEAVING.hurry_until = time.monotonic() + HURRY_S
        if self.behind is signal.SIG_DFL:
            signal.signal(signum, signal.SIG_DFL)  # a second signal ends the process at once
            LEAVING.signum = signum
            with suppress(RuntimeError):
                _thread.start_new_thread(LEAVING.obey, (ENDING_S,))  # whatever a sink does with the last summaries
        try:
            _thread.start_new_thread(LEAVING.end, ())  # `threading` may hold a lock of its own at this moment
        except RuntimeError:  # the interpreter is ending
            LEAVING.end()
        if callable(self.behind):
            self.behind(signum, frame)


def put_in_front(signum: signal.Signals) -> None:
    """
    Let a handler of ours have the signal first, where it may end the process without its exit hooks.

    What is ignored stays so, and what raises KeyboardInterrupt: Python's own, and asyncio's, which is a partial and put
    back only where it is still found. Nobody handles SIGQUIT: it is for a core dump, or `faulthandler` has it.
    """
    behind = signal.getsignal(signum)
    if isinstance(behind, InFront | partial) or behind is signal.default_int_handler:
        return
    if callable(behind) or (behind is signal.SIG_DFL and signum in (signal.SIGTERM, signal.SIGINT)):
        with suppress(ValueError):  # a subinterpreter
            signal.signal(signum, InFront(behind))
