"""
What all spellings of a warmed function share: procedures are made of it and driven, in a thread or in a task.

A plain function is warmed up beside an event loop in a worker thread, with everything the caller's thread knows:
ContextVars are copied by the event loop; torch's thread-local state is carried by us, or another program would be
warmed than the one that is called afterwards.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from jitwarmup.engine import drivers, procedures
from jitwarmup.engine.commands import Call, CallResult, Procedure
from jitwarmup.engine.function import Prefix, WarmedFunction
from jitwarmup.engine.options import BlockSettings
from jitwarmup.host import event_loops, torch_state
from jitwarmup.host.scope import enclosing_run
from jitwarmup.host.switch import SWITCH
from jitwarmup.keys.single_flight import BEING_WARMED, WaitForWarmup
from jitwarmup.keys.state import KeyState
from jitwarmup.records.runs import Warmup


class Driven:
    """A function, or one of its methods bound to an instance, whose procedures are carried out as its kind wants it."""

    _core: WarmedFunction

    def _split(self, args: tuple[Any, ...]) -> tuple[Prefix, tuple[Any, ...]]:
        return self._core.split(args)

    @property
    def _instance_id(self) -> int | None:
        """The instance that is part of its keys, if any."""
        prefix, _ = self._split(())
        return self._core.registry.instance_id_of(prefix[0]) if prefix else None

    def _driven(self, make: Callable[[], Procedure]) -> Any:
        """Carry a procedure out over all runs; a coroutine where the function is asynchronous."""
        kind = self._core.kind
        return drivers.acall(make, kind) if kind.asynchronous else drivers.call(make, kind)

    def _carry_out(
        self,
        procedure: Callable[[Call], Procedure],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        settings: BlockSettings | None = None,
        *,
        explicit: bool = False,
    ) -> Any:
        """Carry out the procedure of one call; an ``explicit`` one agrees with the other ranks of a job unasked."""
        prefix, rest = self._split(args)
        return self._driven(
            lambda: procedure(self._core.call(prefix, rest, kwargs, explicit=explicit, settings=settings))
        )

    def _warm(self, args: tuple[Any, ...], kwargs: dict[str, Any], settings: BlockSettings | None = None) -> Any:
        if SWITCH.reasons:
            return self._driven(self._inactive)
        return self._carry_out(procedures.warm, args, kwargs, settings)

    async def _awarm(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], settings: BlockSettings | None = None
    ) -> Warmup:
        """The same without blocking the event loop."""
        core = self._core
        if core.kind.asynchronous:
            found: Warmup = await self._warm(args, kwargs, settings)
        elif SWITCH.reasons:
            found = self._warm(args, kwargs, settings)
        else:
            entry = core.entry(*self._split(args), kwargs)
            warm = functools.partial(self._carry_out, procedures.warm_at_once, args, kwargs, settings)
            found = await warmed_in_thread(warm, entry)
        return found

    def _inactive(self) -> Procedure:
        """Nothing is warmed up where jitwarmup is switched off."""
        yield from ()
        return CallResult(Warmup(callable=self._core.name, key="default", skipped="inactive"))


async def warmed_in_thread(make: Callable[[], Warmup], entry: KeyState | None) -> Warmup:
    """
    Carry ``make`` out in a worker thread; it must not wait for others there.

    Where somebody else is warming the key, they are waited for here: a thread that waits is one that is missing, and the
    event loop's default pool has few.
    """
    if entry is not None:
        entry.requested = True
    while True:
        while entry is not None and (in_flight := entry.in_flight) is not None and enclosing_run() is None:
            if not await WaitForWarmup(in_flight, None).sleep():  # no loop runs that could wait
                return make()
        if entry is not None and entry.is_warm and not entry.unready:
            return make()  # nothing is run
        warmup = await in_thread(make)
        if warmup.skipped != BEING_WARMED or enclosing_run() is not None:
            return warmup


async def in_thread(make: Callable[[], Warmup]) -> Warmup:
    """Call it in a worker thread that has the context and torch's state of this one."""
    state = torch_state.capture()

    def work() -> CallResult:
        try:
            with torch_state.carried(state):
                return CallResult(make())
        except BaseException as error:  # noqa: BLE001 - handed over as it is: a StopIteration would hang the future
            return CallResult(error=error)

    warmup: Warmup = (await event_loops.in_thread(work)).unwrap()
    return warmup
