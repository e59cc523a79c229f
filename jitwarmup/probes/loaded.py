"""
Look, do not import: a module is asked of ``sys.modules`` and never loaded by us.

Importing ``torch._dynamo`` costs 2.4 s and 821 modules (measured on torch 2.13), so a probe whose module is absent is
*dormant*: the work it would see cannot happen before somebody else loads that module.
"""

from __future__ import annotations

import sys
from types import ModuleType

from jitwarmup.records.protocols import ArmState

ARMED = ArmState("armed")
DORMANT = ArmState("dormant", "not loaded")
LOADING = ArmState("dormant", "being imported")


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
    """Whether this thread is inside a torch compile (``_guards.CompileContext``, there since 2.0)."""
    guards = sys.modules.get("torch._guards")
    context = getattr(guards, "CompileContext", None)
    return context is not None and context.try_get() is not None
