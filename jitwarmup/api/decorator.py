"""
``@warmed``: the decorator, and the descriptor that stands in the function's place.

A `Warmed` quacks as its function and binds as one. All that its calls share is in one `WarmedFunction`; a `Bound` is made for each
attribute access and thrown away. The warm path with ``emit="off"`` is one frame: a flag, and the function.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Coroutine
from types import MethodType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast, overload

from jitwarmup.api.production import Production, inactive
from jitwarmup.engine import drivers, procedures
from jitwarmup.engine.callables import CallableKind, wrapper_attributes
from jitwarmup.engine.commands import Call, Procedure
from jitwarmup.engine.function import Prefix, WarmedFunction
from jitwarmup.engine.options import Options, check_function
from jitwarmup.host.scope import CURRENT
from jitwarmup.host.switch import SWITCH
from jitwarmup.host.tracing import Tracing
from jitwarmup.records.protocols import Rule
from jitwarmup.records.report import Report
from jitwarmup.records.runs import State, Warmup

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
ProcedureOf = Callable[[Call], Procedure]


class Warmed(Production[P, R_co]):
    """
    A function that is validated and warmed up on its first call, and timed ever after.

    Calling it runs the user's function 1 + warm-up + 1 times on the first call for a key, and once afterwards; the value
    is that of the last run. See ``warm``, ``measure``, ``state`` and ``ready``; ``__wrapped__`` is the user's function.
    """

    _core: WarmedFunction

    def __init__(self, raw: Callable[P, R_co], options: Options) -> None:
        core = WarmedFunction(raw, options)
        face = wrapper_attributes(core.function)
        ours = {name for name in face if hasattr(Warmed, name) and not name.startswith("__")}
        self.__dict__.update({name: value for name, value in face.items() if name not in ours})
        self._core = core  # after the function's own attributes, which are ours where it wraps a warmed one
        self.__wrapped__ = core.function
        if Tracing.compiling is Tracing.first_look:
            Tracing.look()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        core = self._core
        if core.bypass or Tracing.compiling():
            value: R_co = core.function(*args, **kwargs)
            return value
        return cast("R_co", timed_call(core, *core.split(args), kwargs))

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
        return bound_otherwise(self, instance, owner)

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._core.owner = owner
        if hasattr(self._core.raw, "__set_name__"):
            self._core.raw.__set_name__(owner, name)

    @overload
    def warm(  # type: ignore[overload-overlap]  # an awaitable where the function is asynchronous
        self: Warmed[P, Coroutine[Any, Any, Any] | AsyncIterator[Any]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, Warmup]: ...
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
        if SWITCH.reasons:
            return self._plainly(inactive(self._core))
        return self._carry_out(procedures.warm, args, kwargs)

    @overload
    def measure(  # type: ignore[overload-overlap]  # see warm
        self: Warmed[P, Coroutine[Any, Any, Any] | AsyncIterator[Any]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, Report]: ...
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

    @property
    def state(self) -> State:
        """Where it stands, in one word: of the keys asked to be warmed or, where none was, of all keys met."""
        return self._core.registry.state(self._instance_id)

    @property
    def ready(self) -> bool:
        """Whether every key asked for (or the first) is warm; latches. True where jitwarmup is switched off."""
        return bool(SWITCH.reasons) or self._core.registry.ready(self._instance_id)

    def flush(self) -> None:
        """With ``emit="summary"``: tell now what was counted since the last summary."""
        self._core.registry.summary.flush()

    def reset(self) -> None:
        """Forget what is warm: the next call of every key is a first call."""
        self._core.reset()

    @property
    def _instance_id(self) -> int | None:
        return None

    def _split(self, args: tuple[Any, ...]) -> tuple[Prefix, tuple[Any, ...]]:
        return self._core.split(args)

    def _carry_out(
        self,
        procedure: ProcedureOf,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        settings: dict[str, Any] | None = None,
        *,
        explicit: bool = False,
    ) -> Any:
        """
        Carry out a course over all runs; a coroutine where the function is asynchronous.

        ``explicit``: a measurement, which agrees with the other ranks of a job without being told to.
        """
        core = self._core
        prefix, rest = self._split(args)

        def make() -> Procedure:
            return procedure(core.call(prefix, rest, kwargs, explicit=explicit, **(settings or {})))

        return drivers.acall(make, core.kind) if core.kind.asynchronous else drivers.call(make, core.kind)

    def _plainly(self, value: Any) -> Any:
        """A value, as the function's colour hands it over."""
        if not self._core.kind.asynchronous:
            return value

        async def give() -> Any:
            return value

        return give()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._core.function, name)

    def __repr__(self) -> str:
        return f"<warmed {self._core.name}: {self.state}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        """As functions do: by qualified name."""
        return cast("str", self.__qualname__)

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
        self.__dict__ = warmed.__dict__  # its face, shared: nothing is ever set on a bound one
        self._core = warmed._core
        self._instance = instance
        self._warmed = warmed

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        core = self._core
        if id(self._instance) in core.bypass_instances and not core.registry.dead:
            value: R_co = core.function(self._instance, *args, **kwargs)
            return value
        if Tracing.compiling():
            return cast("R_co", core.function(self._instance, *args, **kwargs))
        return cast("R_co", timed_call(core, (self._instance,), args, kwargs))

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

    @property
    def _instance_id(self) -> int | None:
        return self._core.registry.instance_id_of(self._instance)

    def _split(self, args: tuple[Any, ...]) -> tuple[Prefix, tuple[Any, ...]]:
        return (self._instance,), args

    def __get__(self, instance: Any, owner: type[Any] | None = None, /) -> Any:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bound) and self._core is other._core and self._instance is other._instance

    def __hash__(self) -> int:
        return hash((id(self._core), id(self._instance)))

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self._instance, self._core.function.__name__)

    def __copy__(self) -> Bound[P, R_co]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Bound[P, R_co]:
        return Bound(self._warmed, copy.deepcopy(self._instance, memo))


def bound_otherwise(warmed: Warmed[Any, Any], instance: Any, owner: type[Any] | None) -> Any:
    """Binding of class methods; whatever else is no function does not bind."""
    core = warmed._core
    if core.binding == "class":
        return Bound(warmed, owner if owner is not None else type(instance))
    return warmed


def timed_call(core: WarmedFunction, prefix: Prefix, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A plain call that is timed: validated and warmed up first where its key is cold."""
    kind = core.kind
    if kind is CallableKind.FUNCTION:
        if core.passes_through():
            return core.function(*prefix, *args, **kwargs)
        entry = core.entry(prefix, args, kwargs)
        if entry is not None and entry.is_warm and CURRENT.get() is None:
            return procedures.warm_call(core.timed_function(), entry, (*prefix, *args), kwargs)
        return drivers.call(lambda: procedures.plain(core.call(prefix, args, kwargs, entry=entry)), kind)

    def make() -> Procedure:
        """The course is chosen when the body begins to run, where a task's or consumer's scope is known."""
        if core.passes_through():
            return procedures.passthrough(core.function, (*prefix, *args), kwargs)
        return procedures.plain(core.call(prefix, args, kwargs))

    by_kind: dict[CallableKind, Callable[[Callable[[], Procedure]], Any]] = {
        CallableKind.COROUTINE: drivers.acall,
        CallableKind.GENERATOR: drivers.stream,
        CallableKind.ASYNC_GENERATOR: drivers.astream,
    }
    return by_kind[kind](make)


class Decorator:
    """What ``warmed(...)`` returns: give it the function."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def __call__(self, function: Callable[P, R], /) -> Warmed[P, R]:
        check_function(function)
        return Warmed(function, self._options)


@overload
def warmed(function: Callable[P, R], /) -> Warmed[P, R]: ...
@overload
def warmed(
    function: None = None,
    /,
    *,
    iterations: int | Rule = 5,
    measurements: int = 20,
    key: Callable[..., Any] | None = None,
    on_new_key: str | None = None,
    fresh: Callable[..., Any] | None = None,
    accept: Callable[[Any], bool] | None = None,
    drain: int | None = None,
    idempotent: bool = True,
    dry_run: Callable[..., Any] | None = None,
    budget_s: float | None = None,
    while_warming: str = "wait",
    on_contamination: str = "mark",
    on_loss: str = "mark",
    rng: str | None = None,
    monitor: Any = None,
    ranks: Any = None,
    name: str | None = None,
    emit: str = "calls",
    log_messages: bool = False,
) -> Decorator: ...
def warmed(function: Any = None, /, *, iterations: int | Rule = 5, **options: Any) -> Any:
    """
    Decorate a function: its first call validates it and warms it up in silence; every call is timed and logged.

    The function runs 1 + ``iterations`` + 1 times on the first call for a key, once afterwards; extra runs start from
    the caller's random state and leave no trace in it.

    Args:
        function: a function of any colour, method, partial, callable object or foreign bound method.
        iterations: warm-up runs after the validation run (0 is allowed), or a rule such as ``until_steady()``.
        measurements: timed runs of ``.measure``.
        key: ``key(*args, **kwargs)`` -> hashable: what a warm-up is good for; None for one key per function (and
            instance).
        on_new_key: ``"warm"`` or ``"pass"`` (a plain timed call, counted as missed); by default ``"warm"`` until
            ``.warm`` was called, then ``"pass"``.
        fresh: ``fresh(*args, **kwargs)`` -> (args, kwargs) makes the inputs of every extra run.
        accept: ``accept(value)`` -> bool; a validation run whose value it refuses has failed.
        drain: items an extra run of a stream is drained for at most; None for all.
        idempotent: False where running twice does harm; needs ``fresh=`` or ``dry_run=``.
        dry_run: what is run in the place of extra runs.
        budget_s: seconds for validation and warm-up together; a run that has begun is not interrupted.
        while_warming: what other callers of a key do meanwhile: ``"wait"``, ``"pass"`` (plain call), ``"raise"``.
        on_contamination: a measured run with one-time work: ``"mark"``, ``"redo"`` or ``"raise"``.
        on_loss: one-time work after warm-up: ``"mark"``, ``"unready"``, ``"raise"`` or ``"rewarm"``.
        rng: ``"restore"`` or ``"leave"`` the process's random streams; by default restored in the main thread.
        monitor: an object with pause, resume and window(name), such as ``GPUMonitor()``.
        ranks: the ranks that warm up in step on a first call or ``.warm``, which all of them have to make:
            a torch.distributed group, a DeviceMesh, a ``RankGroup`` or ``"world"``. By default only ``.measure`` agrees,
            over all ranks where torch.distributed is initialised; None: that neither.
        name: shown in the place of the function's own name.
        emit: ``"calls"``, ``"summary"`` or ``"off"``.
        log_messages: put what an exception says into events too; it may hold prompts and other argument values.

        options: see above; by keyword only.

    Raises:
        ArgumentError: an option cannot work, or the decorated thing is a class or not callable.

    """
    decorator = Decorator(Options.checked(iterations=iterations, **options))
    return decorator if function is None else decorator(function)
