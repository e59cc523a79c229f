"""``@warmed``: the decorator, and its options."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, get_overloads, overload

from jitwarmup.api.warmed import Warmed
from jitwarmup.engine.options import UNSET, Options, check_function
from jitwarmup.records.checks import checking
from jitwarmup.records.protocols import Rule

P = ParamSpec("P")
R = TypeVar("R")


def decorate(options: Options, function: Callable[P, R], /) -> Warmed[P, R]:
    """Put a warmed function in the function's place."""
    check_function(function)
    return Warmed(function, options)


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
    ranks: Any = UNSET,
    name: str | None = None,
    emit: str = "calls",
    log_messages: bool = False,
    reusable: Any = None,
) -> Callable[[Callable[P, R]], Warmed[P, R]]: ...
def warmed(function: Any = None, /, **options: Any) -> Any:  # noqa: D417 - the signature is the overload above
    """
    Decorate a function: its first call validates it and warms it up in silence; every call is timed and logged.

    The function runs 1 + ``iterations`` + 1 times on the first call for a key, once afterwards; extra runs start from
    the caller's random state and leave no trace in it.

    Args:
        function: a function of any kind, method, partial, callable object or foreign bound method.
        iterations: warm-up runs after the validation run (0 is allowed), or a rule such as ``until_steady()``.
        measurements: timed runs of ``.measure``.
        key: ``key(*args, **kwargs)`` -> hashable: what a warm-up is good for; None for one key per function (and
            instance).
        on_new_key: ``"warm"`` or ``"pass"`` (a plain timed call, counted as missed); by default ``"warm"`` until
            ``.warm`` was called, then ``"pass"``.
        fresh: ``fresh(*args, **kwargs)`` -> (args, kwargs) makes the inputs of every extra run.
        accept: ``accept(value)`` -> bool; a validation run whose value it refuses has failed.
        drain: items an extra run of a stream is drained for at most; None for all, but without ``budget_s`` or ``accept``
            for 1,000 items or 60 s of its own at most where no report is wanted, since the stream may be an endless one.
        idempotent: False where running twice does harm; needs ``fresh=`` or ``dry_run=``.
        dry_run: what is run in the place of extra runs.
        budget_s: seconds for validation and warm-up together; a run that has begun is not interrupted.
        while_warming: what other callers of a key do meanwhile: ``"wait"``, ``"pass"`` (plain call), ``"raise"``.
        on_contamination: a measured run with one-time work: ``"mark"``, ``"redo"`` or ``"raise"``.
        on_loss: one-time work or drift after warm-up: ``"mark"``, ``"unready"``, ``"raise"`` or ``"rewarm"``.
        rng: ``"restore"`` or ``"leave"`` the process's random streams; by default restored in the main thread.
        monitor: an object with pause, resume and window(name), such as ``GPUMonitor()``.
        ranks: the ranks that warm up in step on a first call or ``.warm``, which all of them have to make:
            a torch.distributed group, a DeviceMesh, a ``RankGroup`` or ``"world"``. By default only ``.measure`` agrees,
            over all ranks where torch.distributed is initialised; None: that neither.
        name: shown in the place of the function's own name.
        emit: ``"calls"``, ``"summary"`` or ``"off"``.
        log_messages: put exception messages into events too; they may hold prompts and other argument values.
        reusable: a class, a tuple of classes, or a function of a value: arguments that several runs may share although
            nothing is known of them, or although they deliver or are changed. Also the object that a method belongs to.

    Raises:
        ArgumentError: an option cannot work, or the decorated thing is a class or not callable.

    """
    with checking("warmed"):
        decorator = functools.partial(decorate, Options.checked(**options))
    return decorator if function is None else decorator(function)


# The one signature, for help(), notebooks and documentation: the overload that names every option with its default.
warmed.__signature__ = inspect.signature(get_overloads(warmed)[-1])  # type: ignore[attr-defined]
