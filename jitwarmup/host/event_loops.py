"""
Waiting in whatever event loop runs this code: asyncio (also under anyio), or trio; where none runs, not at all.

A coroutine that is driven by hand has no loop that could wake it: it never waits.
"""

from __future__ import annotations

import asyncio
import functools
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


async def until_woken(
    join: Callable[[Wake], bool], leave: Callable[[Wake], None], seconds: float | None
) -> bool | None:
    """
    Wait until another thread or task calls what ``join`` got.

    Args:
        join: takes a function that may be called from any thread; False where there is nothing to wait for any more.
        leave: takes it back.
        seconds: to wait at most; None for no limit.

    Returns:
        False where the time is up; None where nobody could wake us: no loop runs this, or somebody steps it by hand.

    """
    wait = in_asyncio if trio_here() is None else in_trio
    return await wait(join, leave, seconds)


async def in_asyncio(join: Callable[[Wake], bool], leave: Callable[[Wake], None], seconds: float | None) -> bool | None:
    """``until_woken`` in a task of asyncio."""
    loop = asyncio_here()
    if loop is None or asyncio.current_task() is None:
        return None
    future: asyncio.Future[bool] = loop.create_future()

    def resolve(*, woken: bool) -> None:
        if not future.done():
            future.set_result(woken)

    def wake_up() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(functools.partial(resolve, woken=True))

    timer = None if seconds is None else loop.call_later(seconds, functools.partial(resolve, woken=False))
    try:
        return await future if join(wake_up) else True
    except RuntimeError:  # "await wasn't used with future": stepped by hand
        if future.done():
            raise
        return None
    finally:
        leave(wake_up)
        if timer is not None:
            timer.cancel()


async def in_trio(join: Callable[[Wake], bool], leave: Callable[[Wake], None], seconds: float | None) -> bool:
    """``until_woken`` in a task of trio."""
    trio = trio_here()
    event, token = trio.Event(), trio.lowlevel.current_trio_token()

    def wake_up() -> None:
        with suppress(RuntimeError):  # the run is over
            token.run_sync_soon(event.set)

    try:
        if join(wake_up):
            with trio.move_on_after(float("inf") if seconds is None else seconds):
                await event.wait()
            return bool(event.is_set())
        return True
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
