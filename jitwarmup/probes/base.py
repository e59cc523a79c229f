"""
What probes share: looking at modules without importing them, and two bases.

Importing ``torch._dynamo`` costs 2.4 s and 821 modules (measured on torch 2.13), so a module is asked of ``sys.modules``
and never loaded by us. A probe whose module is absent is *dormant*: the work it would see cannot happen before somebody
else loads that module.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

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


def risen(before: int, after: int) -> int:
    """How far a counter rose; one that fell was cleared and counts from zero again."""
    return after - before if after >= before else after


def loaded(name: str) -> ModuleType | None:
    """The module if somebody has imported it completely, else None (a half-made module lacks names at random)."""
    module = sys.modules.get(name)
    return None if module is None or importing(module) else module


def importing(module: ModuleType) -> bool:
    """Whether the module's body is still running (in another thread, or below us on this one)."""
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def absent(name: str) -> ArmState:
    """Why ``loaded(name)`` is None: not imported at all, or not yet done."""
    return LOADING if name in sys.modules else DORMANT


def compiling() -> bool:
    """Whether this thread is inside a torch compile."""
    context = getattr(sys.modules.get("torch._guards"), "CompileContext", None)
    return context is not None and context.try_get() is not None
