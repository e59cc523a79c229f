"""
What probes share: looking at modules without importing them, two bases, and a hook in another library.

Importing ``torch._dynamo`` costs 2.4 s and 821 modules (measured on torch 2.13), so a module is asked of ``sys.modules``
and never loaded by us. A probe whose module is absent is *dormant*: the work it would see cannot happen before somebody
else loads that module.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial, wraps
from types import ModuleType
from typing import Any

from jitwarmup.host.interrupts import Contained
from jitwarmup.records.protocols import ArmState
from jitwarmup.records.runs import OneTimeWork

ARMED = ArmState("armed")
DORMANT = ArmState("dormant", "not loaded")
LOADING = ArmState("dormant", "being imported")


class ReadingProbe:
    """A probe that only reads at the edges of a run: it installs nothing, so there is nothing to take out."""

    name: str

    def disarm(self) -> None:
        """Nothing was installed."""


class HookProbe:
    """A probe whose hooks push what they see while it happens: nothing is read at the edges of a run."""

    name: str
    follows = True

    def snapshot(self) -> None:
        """Nothing to read."""

    def delta(self, _before: Any, _after: Any) -> Sequence[OneTimeWork]:
        """Everything was pushed."""
        return ()


def compiling() -> bool:
    """Whether this thread is inside a torch compile; never raises."""
    with suppress(Exception):  # torch is not loaded, or not as known
        return sys.modules["torch._guards"].CompileContext.try_get() is not None
    return False


class ChainedHook:
    """
    A callback before or ``after`` each call of a listener or method of another library; it gets the call's arguments.

    Whoever was in the slot is called from ours and gets the slot back. While ``skip()`` the call is the plain call.
    """

    def __init__(
        self,
        owner: Any,
        attribute: str,
        callback: Callable[..., None],
        *,
        after: bool = False,
        skip: Callable[[], bool] = compiling,
    ) -> None:
        self._owner, self._attribute = owner, attribute
        self._had_own = attribute in vars(owner)
        self._former = getattr(owner, attribute, None)
        self._active = True
        former = self._former or _nobody

        def notify(*args: Any, **kwargs: Any) -> None:
            with Contained():  # a hook never breaks what the user called
                if self._active:
                    callback(*args, **kwargs)

        @wraps(former)
        def hook(*args: Any, **kwargs: Any) -> Any:
            if skip():  # Dynamo may trace this very function: it may hold nothing but functions and flags
                return former(*args, **kwargs)
            if not after:
                notify(*args, **kwargs)
            value = former(*args, **kwargs)
            if after:
                notify(*args, **kwargs)
            return value

        self._hook = hook
        setattr(owner, attribute, hook)

    def leave(self) -> None:
        """Give the slot back; where somebody has chained ours since, ours stays in their chain and says nothing."""
        self._active = False
        if getattr(self._owner, self._attribute, None) is not self._hook:
            return
        if self._had_own:
            setattr(self._owner, self._attribute, self._former)
        else:
            delattr(self._owner, self._attribute)


def _nobody(*_args: Any, **_kwargs: Any) -> None:
    """The former owner of an empty slot."""


def usage_reader(whose: str) -> Callable[[], Any] | None:
    """``getrusage`` of ``RUSAGE_THREAD`` or ``RUSAGE_CHILDREN``; None where the system does not tell."""
    try:
        import resource

        return partial(resource.getrusage, getattr(resource, whose))
    except (ImportError, AttributeError):
        return None


def risen(before: int, after: int) -> int:
    """How far a counter rose; one that fell was cleared and counts from zero again."""
    return after - before if after >= before else after


def loaded(name: str) -> ModuleType | None:
    """The module if somebody has imported it completely, else None (a half-made module lacks names at random)."""
    module = sys.modules.get(name)
    half = getattr(getattr(module, "__spec__", None), "_initializing", False)  # in another thread, or below us on this
    return None if half else module


def absent(name: str) -> ArmState:
    """Why ``loaded(name)`` is None: not imported at all, or not yet done."""
    return LOADING if name in sys.modules else DORMANT


def merged(work: Iterable[OneTimeWork]) -> tuple[OneTimeWork, ...]:
    """Equal pieces (kind, reason, scope, recurrence) as one, counts and durations added."""
    sums: dict[tuple[str, str | None, str, str], OneTimeWork] = {}
    for item in work:
        key = (item.kind, item.reason, item.scope, item.recurrence)
        if (known := sums.get(key)) is None:
            sums[key] = item
        else:
            spent = [one.duration_s for one in (known, item) if one.duration_s is not None]
            sums[key] = replace(known, count=known.count + item.count, duration_s=sum(spent) if spent else None)
    return tuple(sums.values())
