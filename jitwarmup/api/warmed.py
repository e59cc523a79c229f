"""
The descriptor that stands in a decorated function's place: it quacks as its function and binds as one.

All that its calls share is in one `WarmedFunction`; a `Bound` is made for each attribute access and thrown away. The warm
path with ``emit="off"`` is one frame: a flag, and the function.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from types import FunctionType, MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, Unpack, cast, overload

from jitwarmup.api import shipping, warm_many
from jitwarmup.api.driven import Driven
from jitwarmup.api.warm_many import WarmAll
from jitwarmup.engine import drivers, procedures
from jitwarmup.engine.callables import CallableKind, wrapper_attributes
from jitwarmup.engine.commands import Procedure, passthrough
from jitwarmup.engine.function import Prefix, WarmedFunction
from jitwarmup.engine.options import Options
from jitwarmup.host.scope import CURRENT
from jitwarmup.host.switch import SWITCH
from jitwarmup.host.tracing import Tracing
from jitwarmup.keys.state import WARM_STATES
from jitwarmup.keys.status import status_of
from jitwarmup.records.report import Report
from jitwarmup.records.runs import Coverage, Preparation, State, Warmup
from jitwarmup.records.text import shortened

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
Awaited = Coroutine[Any, Any, Any] | AsyncIterator[Any]  # what asynchronous functions give


class Warmed(Driven, Generic[P, R_co]):
    """
    A function that is validated and warmed up on its first call, and timed ever after.

    Calling it runs the user's function 1 + warm-up + 1 times on the first call for a key, and once afterwards; the value
    is that of the last run. See ``warm``, ``measure``, ``state`` and ``ready``; ``__wrapped__`` is the user's function.
    """

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        """A function's, for whoever asks whether it is one; not for who would take the function for the whole."""
        return FunctionType if "__code__" in self.__dict__ and not shipping.taken_apart() else Warmed

    def __init__(self, raw: Callable[P, R_co], options: Options) -> None:
        core = WarmedFunction(raw, options)
        attributes = wrapper_attributes(core.function)
        ours = {name for name in attributes if hasattr(Warmed, name) and not name.startswith("__")}
        self.__dict__.update({name: value for name, value in attributes.items() if name not in ours})
        self._core = core  # after the function's own attributes, which are ours where it wraps a warmed one
        self.__wrapped__ = core.function
        if Tracing.compiling is Tracing.first_look:
            Tracing.look()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        core = self._core
        if core.bypass or (Tracing.compiling() and Tracing.here()) or passes_inside(core):
            value: R_co = core.function(*args, **kwargs)
            return value
        prefix, rest = ((), args) if core.owner is None else core.split(args)
        return cast("R_co", timed_call(core, prefix, rest, kwargs))

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None, /) -> Self: ...
    @overload
    def __get__(
        self: Warmed[Concatenate[S, Q], R], instance: object, owner: type[Any] | None = None, /
    ) -> Warmed[Q, R]: ...
    def __get__(self, instance: Any, owner: type[Any] | None = None, /) -> Any:
        core = self._core
        if core.binding == "function":
            return self if instance is None else Bound(self, instance)
        if core.binding == "class":
            return Bound(self, owner if owner is not None else type(instance))
        return self  # whatever else is no function does not bind

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._core.owner = owner
        if hasattr(self._core.raw, "__set_name__"):
            self._core.raw.__set_name__(owner, name)

    # Three methods give an awaitable where the function is asynchronous; mypy sees an overlap, since anything may be one.
    @overload
    def warm(self: Warmed[P, Awaited], /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, Warmup]: ...  # type: ignore[overload-overlap]
    @overload
    def warm(self, /, *args: P.args, **kwargs: P.kwargs) -> Warmup: ...
    def warm(self, /, *args: Any, **kwargs: Any) -> Any:
        """
        Only validate and warm up, as the start-up of a service does; for a warm key nothing is done.

        Awaitable where the function is asynchronous.

        Returns:
            The record of the warm-up of this key.

        Raises:
            BaseException: whatever the user's function raised in a run.
            MeasurementFailed: ``accept=`` refused the value of the validation run.
            ArgumentError: an argument can be used only once and there is no ``fresh=``.

        """
        return self._warm(args, kwargs)

    @overload
    def measure(self: Warmed[P, Awaited], /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, Report]: ...  # type: ignore[overload-overlap]
    @overload
    def measure(self, /, *args: P.args, **kwargs: P.kwargs) -> Report: ...
    def measure(self, /, *args: Any, **kwargs: Any) -> Any:
        """
        Run the whole plan: validation, warm-up, and ``measurements`` timed runs. Awaitable where the function is.

        Where torch.distributed is initialised, all ranks have to make the same measurement, and carry it out in step.

        Returns:
            A Report, also where the function failed (``report.failure``, ``latency_s == -1.0``).

        Raises:
            ArgumentError: an argument can be used only once and there is no ``fresh=``; the ranks' plans differ.
            RankFailed: another rank did not come to the measurement.

        """
        return self._carry_out(procedures.measure, args, kwargs, explicit=True)

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
        return await self._awarm(args, kwargs)

    @overload
    def warm_all(  # type: ignore[overload-overlap]
        self: Warmed[P, Awaited], inputs: Sequence[Any], **options: Unpack[WarmAll]
    ) -> Coroutine[Any, Any, Preparation]: ...
    @overload
    def warm_all(self, inputs: Sequence[Any], **options: Unpack[WarmAll]) -> Preparation: ...
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
                theirs pass plainly and count as missed. ``"degraded"``: the same, and the state is degraded.
                ``"fail"``: not ready, and MeasurementFailed.

        Raises:
            BaseException: whatever the user's function raised in a run, at once; keys warmed before stay warm.
            MeasurementFailed: the budget was spent, with ``policy="fail"``.
            ArgumentError: inputs or weights that cannot work; raised before anything is run.

        """
        return self._driven(warm_many.preparing(self, inputs, weights, budget_s, policy))

    async def awarm_all(
        self,
        inputs: Sequence[Any],
        *,
        weights: Sequence[float] | None = None,
        budget_s: float | None = None,
        policy: str = "ready",
    ) -> Preparation:
        """``warm_all`` without blocking the event loop: ``awarm`` for each input. Arguments as there."""
        found: Preparation = await drivers.acall(warm_many.preparing(self, inputs, weights, budget_s, policy))
        return found

    def coverage(self) -> Coverage:
        """
        What share of live calls found their key warm, which keys were missed, how often, and what it cost.

        Exact to the call, over threads too, since the start or ``reset()``; nothing is counted with ``emit="off"``.
        """
        return self._core.registry.counts.read(self._core.name)

    def status(self) -> dict[str, Any]:
        """Where it stands, as a document (schema ``jitwarmup.status/1``) of plain JSON types. Never waits for a warm-up."""
        return status_of(self._core.registry, self._instance_id)

    @property
    def state(self) -> State:
        """Where it stands, in one word: of the keys asked to be warmed or, where none was, of all keys met."""
        return self._core.registry.state(self._instance_id)

    @property
    def ready(self) -> bool:
        """Whether every key asked for (or the first) is warm; latches. True where jitwarmup is switched off."""
        return bool(SWITCH.reasons) or self._core.registry.ready(self._instance_id)

    def flush(self) -> None:
        """With ``emit="summary"``: emit now what was counted since the last summary."""
        self._core.registry.summary.flush()

    def reset(self) -> None:
        """Forget what is warm: the next call of every key is a first call."""
        self._core.reset()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        core = self._core
        return getattr(core.function if hasattr(core.function, name) else core.raw, name)

    def __repr__(self) -> str:
        return f"<warmed {shortened(self._core.name)}: {self.state}>"

    def __reduce_ex__(self, protocol: Any) -> str | tuple[Any, ...]:
        return shipping.reduced(self, self._core)

    def __copy__(self) -> Warmed[P, R_co]:
        return Warmed(self._core.raw, self._core.options)

    def __deepcopy__(self, memo: dict[int, Any]) -> Warmed[P, R_co]:
        """A cold one around the copied callable."""
        return Warmed(copy.deepcopy(self._core.raw, memo), self._core.options)


class Bound(Warmed[P, R_co]):
    """A warmed method of one instance (or class), which is part of its keys by identity."""

    __slots__ = ("_core", "_instance", "_warmed")
    _instance: Any

    def __init__(self, warmed: Warmed[Any, Any], instance: Any) -> None:
        self.__dict__ = warmed.__dict__  # its attributes, shared: nothing is ever set on a bound one
        self._core = warmed._core
        self._instance = instance
        self._warmed = warmed

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        core = self._core
        watch = core.bypass_instances.get(id(self._instance))
        known = watch is not None and watch() is self._instance
        if known or (Tracing.compiling() and Tracing.here()) or passes_inside(core):
            value: R_co = core.function(self._instance, *args, **kwargs)
            return value
        return cast("R_co", timed_call(core, (self._instance,), args, kwargs))

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        return Bound if shipping.taken_apart() else MethodType

    @property
    def __wrapped__(self) -> Any:
        """The user's function, bound."""
        return MethodType(self._core.function, self._instance)

    @property
    def __self__(self) -> Any:
        """The instance."""
        return self._instance

    @property
    def __func__(self) -> Warmed[Any, Any]:
        """The unbound one."""
        return self._warmed

    def _split(self, args: tuple[Any, ...]) -> tuple[Prefix, tuple[Any, ...]]:
        return (self._instance,), args

    def __get__(self, instance: Any, owner: type[Any] | None = None, /) -> Any:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bound) and self._core is other._core and self._instance is other._instance

    def __hash__(self) -> int:
        return hash((id(self._core), id(self._instance)))

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return shipping.reduced_bound(self, self._warmed, self._instance)

    def __copy__(self) -> Bound[P, R_co]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Bound[P, R_co]:
        return Bound(self._warmed, copy.deepcopy(self._instance, memo))


def passes_inside(core: WarmedFunction) -> bool:
    """Whether a call inside a run passes through: decided before `timed_call`, for each frame counts in a recursion."""
    return CURRENT.get() is not None and core.kind is CallableKind.FUNCTION and core.passes_through()


def timed_call(core: WarmedFunction, prefix: Prefix, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A plain call that is timed: validated and warmed up first where its key is cold."""
    kind = core.kind
    if kind is CallableKind.FUNCTION:
        if core.passes_through():
            return core.function(*prefix, *args, **kwargs)
        entry = core.entry(prefix, args, kwargs)
        if entry is not None and entry.state in WARM_STATES and CURRENT.get() is None:
            return procedures.warm_call(core.shared or core.timed_function(), entry, (*prefix, *args), kwargs)
        return drivers.call(lambda: procedures.plain(core.call(prefix, args, kwargs, entry=entry)), kind)

    if core.lazy:  # wrong arguments fail here, as the function's own call would
        made = core.function(*prefix, *args, **kwargs)
        if kind is not CallableKind.ASYNC_GENERATOR:
            made.close()  # it never began

    def make() -> Procedure:
        """The procedure is chosen when the body begins to run, where a task's or consumer's scope is known."""
        if core.passes_through():
            return passthrough(core.function, (*prefix, *args), kwargs)
        return procedures.plain(core.call(prefix, args, kwargs))

    by_kind: dict[CallableKind, Callable[[Callable[[], Procedure]], Any]] = {
        CallableKind.COROUTINE: drivers.acall,
        CallableKind.GENERATOR: drivers.stream,
        CallableKind.ASYNC_GENERATOR: drivers.astream,
    }
    made = by_kind[kind](make)
    made.__name__, made.__qualname__ = (
        core.function_name
    )  # as in tracebacks, task names and warnings of the function's own
    return made
