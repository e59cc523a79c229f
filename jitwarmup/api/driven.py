"""What all spellings of a warmed function share: procedures are made of it and driven, in a thread or in a task."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from jitwarmup.api import worker_thread
from jitwarmup.engine import drivers, procedures
from jitwarmup.engine.commands import Call, CallResult, Procedure
from jitwarmup.engine.function import Prefix, WarmedFunction
from jitwarmup.engine.options import BlockSettings
from jitwarmup.host.switch import SWITCH
from jitwarmup.records.runs import Warmup

ProcedureOf = Callable[[Call], Procedure]


class Driven:
    """A function, or one of its methods bound to an instance, whose procedures are carried out as its kind wants it."""

    _core: WarmedFunction

    def _split(self, args: tuple[Any, ...]) -> tuple[Prefix, tuple[Any, ...]]:
        return self._core.split(args)

    def _driven(self, make: Callable[[], Procedure]) -> Any:
        """Carry a procedure out over all runs; a coroutine where the function is asynchronous."""
        kind = self._core.kind
        return drivers.acall(make, kind) if kind.asynchronous else drivers.call(make, kind)

    def _carry_out(
        self,
        procedure: ProcedureOf,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        settings: BlockSettings | None = None,
        *,
        explicit: bool = False,
    ) -> Any:
        """
        Carry out the procedure of one call.

        ``explicit``: a measurement, which agrees with the other ranks of a job without being asked to.
        """
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
            found = await worker_thread.warm(warm, entry)
        return found

    def _inactive(self) -> Procedure:
        """Nothing is warmed up where jitwarmup is switched off."""
        yield from ()
        return CallResult(Warmup(callable=self._core.name, key="default", skipped="inactive"))
