"""What a service asks of a warmed function beside calling it: warm up off the loop, warm many, coverage, status."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, overload

from jitwarmup.api import warm_many, worker_thread
from jitwarmup.api.warm_many import Item
from jitwarmup.engine import procedures
from jitwarmup.engine.commands import Call, Procedure
from jitwarmup.engine.function import Prefix, WarmedFunction
from jitwarmup.host.switch import SWITCH
from jitwarmup.keys.status import status_of
from jitwarmup.records.coverage import Coverage
from jitwarmup.records.preparation import Preparation
from jitwarmup.records.runs import Warmup

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class Production(Generic[P, R_co]):
    """The part of a `Warmed` that services use."""

    _core: WarmedFunction

    async def awarm(self, /, *args: P.args, **kwargs: P.kwargs) -> Warmup:
        """
        Validate and warm up without blocking the event loop; for a warm key nothing is done.

        A plain function runs in a worker thread, with the ContextVars and torch's thread-local state (grad and inference
        mode, autocast, default device, current CUDA device and stream) of the caller, so the program that is warmed is
        the one that is called afterwards. An async function is awaited, as with ``warm``. Cancelling the awaiting task
        does not stop a run that is under way in its thread: a compile cannot be interrupted.

        Raises:
            BaseException: as ``warm``.

        """
        core = self._core
        prefix, rest = self._split(args)
        if SWITCH.reasons:
            return inactive(core)
        if core.kind.asynchronous:
            found: Warmup = await self._carry_out(procedures.warm, args, kwargs)
            return found
        entry = core.entry(prefix, rest, kwargs)
        return await worker_thread.warm(lambda: self._carry_out(procedures.warm_at_once, args, kwargs), entry)

    @overload
    def warm_all(  # type: ignore[overload-overlap]  # an awaitable where the function is asynchronous
        self: Production[P, Coroutine[Any, Any, Any] | AsyncIterator[Any]],
        inputs: Sequence[Any],
        *,
        weights: Sequence[float] | None = None,
        budget_s: float | None = None,
        policy: str = "ready",
    ) -> Coroutine[Any, Any, Preparation]: ...
    @overload
    def warm_all(
        self,
        inputs: Sequence[Any],
        *,
        weights: Sequence[float] | None = None,
        budget_s: float | None = None,
        policy: str = "ready",
    ) -> Preparation: ...
    def warm_all(
        self,
        inputs: Sequence[Any],
        *,
        weights: Sequence[float] | None = None,
        budget_s: float | None = None,
        policy: str = "ready",
    ) -> Any:
        """
        Validate and warm up for many inputs, the heaviest weight first; awaitable where the function is asynchronous.

        A budget is a deadline that is looked at between runs: a compile that is under way cannot be interrupted, so it
        may be overshot by one run. A key is begun while at least half of what it is predicted to cost (the mean of the
        keys before it) is left.

        Args:
            inputs: each a tuple of positional arguments, a dict of keyword arguments, or a single argument.
            weights: how likely each input is; by default they are taken in the order given.
            budget_s: seconds of validation and warm-up runs, over all keys.
            policy: what keys mean that the budget did not reach. ``"ready"``: they are no longer asked for, calls of
                theirs pass plainly and count as missed. ``"degraded"``: the same, and the state says degraded.
                ``"fail"``: not ready, and MeasurementFailed.

        Raises:
            BaseException: whatever the user's function raised in a run, at once; keys warmed before stay warm.
            MeasurementFailed: the budget was spent, with ``policy="fail"``.
            ArgumentError: inputs or weights that cannot work; said before anything is run.

        """
        warm_many.check_settings(budget_s, policy)
        if SWITCH.reasons:
            return self._plainly(Preparation(callable=self._core.name, budget_s=budget_s))
        steps = self._preparing(inputs, weights, budget_s, policy)
        if not self._core.kind.asynchronous:
            return warm_many.drive(steps, self._warm_item)
        return warm_many.adrive(steps, self._warm_item)

    async def awarm_all(
        self,
        inputs: Sequence[Any],
        *,
        weights: Sequence[float] | None = None,
        budget_s: float | None = None,
        policy: str = "ready",
    ) -> Preparation:
        """``warm_all`` without blocking the event loop: ``awarm`` for each input. Arguments as there."""
        warm_many.check_settings(budget_s, policy)
        if SWITCH.reasons:
            return Preparation(callable=self._core.name, budget_s=budget_s)
        return await warm_many.adrive(self._preparing(inputs, weights, budget_s, policy), self._awarm_item)

    def coverage(self) -> Coverage:
        """
        What share of live calls found their key warm, which keys were missed, how often, and what it cost.

        Exact to the call, over threads too, since the start or ``reset()``; nothing is counted with ``emit="off"``.
        """
        return self._core.registry.counts.read(self._core.name)

    def status(self) -> dict[str, Any]:
        """Where it stands, as a document (schema ``jitwarmup.status/1``) of plain JSON types. Never waits for a warm-up."""
        return status_of(self._core.registry, self._instance_id)

    def _preparing(
        self, inputs: Sequence[Any], weights: Sequence[float] | None, budget_s: float | None, policy: str
    ) -> warm_many.Pumped:
        items = warm_many.items_of(self._core, self._split(())[0], inputs, weights)
        return warm_many.preparing(self._core, items, budget_s=budget_s, policy=policy)

    def _warm_item(self, item: Item, limit_s: float | None) -> Any:
        return self._carry_out(procedures.warm, item.args, item.kwargs, budget(self._core, limit_s))

    async def _awarm_item(self, item: Item, limit_s: float | None) -> Warmup:
        if self._core.kind.asynchronous:
            found: Warmup = await self._warm_item(item, limit_s)
            return found
        settings = budget(self._core, limit_s)
        return await worker_thread.warm(
            lambda: self._carry_out(procedures.warm_at_once, item.args, item.kwargs, settings), item.entry
        )

    @property
    def _instance_id(self) -> int | None:
        raise NotImplementedError

    def _split(self, args: tuple[Any, ...]) -> tuple[Prefix, tuple[Any, ...]]:
        raise NotImplementedError

    def _plainly(self, value: Any) -> Any:
        raise NotImplementedError

    def _carry_out(
        self,
        procedure: Callable[[Call], Procedure],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        settings: dict[str, Any] | None = None,
        *,
        explicit: bool = False,
    ) -> Any:
        raise NotImplementedError


def budget(core: WarmedFunction, limit_s: float | None) -> dict[str, Any]:
    """The budget of one key as a setting: the smaller of what is left and the decorator's own."""
    given = [s for s in (limit_s, core.options.budget_s) if s is not None]
    return {"budget_s": min(given)} if given else {}


def inactive(core: WarmedFunction) -> Warmup:
    """The record of a warm-up that is not made since jitwarmup is switched off."""
    return Warmup(callable=core.name, key="default", skipped="inactive")
