"""
Waiting in whatever event loop runs this code: asyncio (also under anyio), or trio; where none runs, not at all.

A coroutine that is driven by hand has no loop that could wake it: it is told at once that its time is up.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")
Wake = Callable[[], None]


def trio_here() -> Any:
    """The module trio, where one of its tasks runs this code; else None."""
    trio = sys.modules.get("trio")
    return trio if trio is not None and trio.lowlevel.in_trio_task() else None


def asyncio_here() -> asyncio.AbstractEventLoop | None:
    """The asyncio loop that runs this code, where trio does not; else None."""
    with suppress(RuntimeError):
        return asyncio.get_running_loop() if trio_here() is None else None
    return None


def here() -> bool:
    """Whether an event loop runs this code."""
    return trio_here() is not None or asyncio_here() is not None


async def until_woken(join: Callable[[Wake], bool], leave: Callable[[Wake], None], seconds: float | None) -> bool:
    """
    Wait until another thread or task calls what ``join`` got.

    Args:
        join: takes a function that may be called from any thread; False where there is nothing to wait for any more.
        leave: takes it back.
        seconds: to wait at most; None for no limit.

    Returns:
        False where the time is up, or no loop runs that could wait.

    """
    trio, loop = trio_here(), asyncio_here()
    if trio is None and loop is None:
        return False
    event = asyncio.Event() if trio is None else trio.Event()
    soon = loop.call_soon_threadsafe if loop is not None else trio.lowlevel.current_trio_token().run_sync_soon

    def wake_up() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
            soon(event.set)

    if not join(wake_up):
        return True
    try:
        if trio is not None:
            with trio.move_on_after(float("inf") if seconds is None else seconds):
                await event.wait()
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), seconds)
        return bool(event.is_set())
    finally:
        leave(wake_up)


async def in_thread(work: Callable[[], T]) -> T:
    """Call it in a worker thread that has this task's ContextVars; here, where no loop runs."""
    if (trio := trio_here()) is not None:
        result: T = await trio.to_thread.run_sync(work)
        return result
    return work() if asyncio_here() is None else await asyncio.to_thread(work)


async def pause(seconds: float) -> None:
    """Let other tasks go on for so long."""
    await (asyncio if (trio := trio_here()) is None else trio).sleep(seconds)
