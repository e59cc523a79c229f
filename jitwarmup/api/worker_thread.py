"""
Warming a plain function while an event loop goes on: in a worker thread, with everything the caller's thread knows.

ContextVars are copied by ``asyncio.to_thread``; torch's thread-local state is carried by us, or another program would be
warmed than the one that is called afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from jitwarmup.host import torch_state
from jitwarmup.host.scope import enclosing_run
from jitwarmup.keys.single_flight import BEING_WARMED, WaitForWarmup
from jitwarmup.keys.state import KeyState
from jitwarmup.records.runs import Warmup


async def warm(make: Callable[[], Warmup], entry: KeyState | None) -> Warmup:
    """
    Carry ``make`` out in a worker thread; it must not wait for others there.

    Where somebody else is warming the key, they are waited for here: a thread that waits is one that is missing, and the
    event loop's default pool has few.
    """
    if entry is not None:
        entry.requested = True
    while True:
        while entry is not None and (in_flight := entry.in_flight) is not None and enclosing_run() is None:
            await WaitForWarmup(in_flight, None).sleep()
        if entry is not None and entry.is_warm and not entry.unready:
            return make()  # nothing is run
        warmup = await in_thread(make)
        if warmup.skipped != BEING_WARMED or enclosing_run() is not None:
            return warmup


async def in_thread(make: Callable[[], Warmup]) -> Warmup:
    """Call it in a worker thread that has the context and torch's state of this one."""
    state = torch_state.capture()

    def work() -> tuple[Warmup | None, BaseException | None]:
        try:
            with torch_state.carried(state):
                return make(), None
        except BaseException as error:  # noqa: BLE001 - handed over as it is: a StopIteration would hang the future
            return None, error

    warmup, error = await asyncio.to_thread(work)
    if error is not None:
        raise error
    assert warmup is not None  # noqa: S101 - it is there where there is no error
    return warmup
