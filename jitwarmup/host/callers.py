"""
Who runs this code, and whether somebody who waits here would hold up the very one that is waited for.

Nobody may wait for what only he could finish: a leader beneath us on this thread's stack, in another greenlet of it, in a
task of a loop that stands still, or a coroutine that somebody drives by hand and may have left.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from types import FrameType
from typing import Any

from jitwarmup.host.event_loops import asyncio_here, trio_here

STEPS = tuple(f"jitwarmup.{name}." for name in ("distributed", "engine", "events", "gpu", "host", "keys", "probes"))
HERE = threading.local()


class Mark:
    """Stands for one thread, and goes with it: unlike an ident, it never stands for a later one."""

    __slots__ = ("__weakref__",)


def mark_here() -> Mark:
    """The mark of this thread (of this greenlet, where ``threading`` is patched so that greenlets may wait)."""
    try:
        mark: Mark = HERE.mark
    except AttributeError:
        mark = HERE.mark = Mark()
    return mark


def task_here() -> Any:
    """The task of asyncio or trio that runs this code; else None."""
    if (trio := trio_here()) is not None:
        return trio.lowlevel.current_task()
    return None if asyncio_here() is None else asyncio.current_task()


class Caller:
    """Whoever made this object: a thread and, where one runs it, a task; both held weakly. ``asynchronous``: a coroutine."""

    __slots__ = ("_asynchronous", "_mark", "_task")

    def __init__(self, *, asynchronous: bool = False) -> None:
        task = task_here()
        self._asynchronous = asynchronous
        self._mark = weakref.ref(mark_here())
        self._task = None if task is None else weakref.ref(task)

    @property
    def ended(self) -> bool:
        """Whether the task or thread is over."""
        if self._task is None:
            return self._mark() is None
        task = self._task()
        if task is None or isinstance(task, asyncio.Future):
            return task is None or task.done() or task.get_loop().is_closed()
        return False

    def goes_on(self, *, asleep: bool) -> bool:
        """Whether it goes on while we wait: ``asleep`` in a task whose loop goes on too, or blocked with our thread."""
        here = self._mark() is mark_here()
        if self.ended or self._task is None:
            return not (self.ended or self._asynchronous or here)
        task: Any = self._task()
        loop = task.get_loop() if isinstance(task, asyncio.Future) else None
        if loop is not None and not loop.is_running():
            return False
        ours = asyncio_here() is loop if loop is not None else here and trio_here() is not None
        if ours:
            coroutine = task.coro if loop is None else task.get_coro()
            return asleep and task is not task_here() and not getattr(coroutine, "cr_running", False)
        return not here


def between_steps() -> bool:
    """
    Whether this call comes from within a step of ours: a callback, a sink, a signal handler or a finalizer.

    Then there may be a lock, a run or a warm-up beneath that others wait for: whoever waits here might wait for himself
    by way of them.
    """
    frame: FrameType | None = sys._getframe(1)
    ours = True  # until the frames of this call itself are behind us
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if ours:
            ours = module.startswith("jitwarmup.")
        elif module.startswith(STEPS):
            return True
        frame = frame.f_back
    return False
