"""
KV-cache allocation: each cache layer of transformers allocates when it sees its first keys (``lazy_initialization``).

A ``generate()`` call makes a new cache, so this cost usually comes back on every run; whether it does is learnt
elsewhere. Executed on transformers 5.23; the method has been there since 4.56.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from functools import wraps
from typing import Any

from jitwarmup.probes.base import ARMED, HookProbe, absent, loaded
from jitwarmup.probes.run_table import RUNS
from jitwarmup.records.protocols import ArmState
from jitwarmup.records.runs import OneTimeWork

MODULE = "transformers.cache_utils"
METHOD = "lazy_initialization"
MARK = "_jitwarmup_original"


class Transformers(HookProbe):
    """Kind: ``kv_cache.allocate``, one for each layer; the reason holds the layer's class and the shape of its keys."""

    name = "transformers"

    def __init__(self) -> None:
        self._wrapped: list[type] = []

    def arm(self) -> ArmState:
        """Dormant until ``transformers.cache_utils`` is loaded; wraps every layer class defined there."""
        module = loaded(MODULE)
        if module is None:
            return absent(MODULE)
        if not self._wrapped:
            self._wrapped = [layer for layer in vars(module).values() if _is_layer(layer, module.__name__)]
            for layer in self._wrapped:
                _wrap(layer)
        return ARMED if self._wrapped else ArmState("unavailable", f"no layer in {MODULE} has {METHOD}")

    def disarm(self) -> None:
        """Puts the methods back, except where somebody has wrapped ours since."""
        for layer in self._wrapped:
            original = getattr(layer.__dict__.get(METHOD), MARK, None)
            if original is not None:
                setattr(layer, METHOD, original)
        self._wrapped = []


def _is_layer(value: Any, module: str) -> bool:
    if not inspect.isclass(value) or value.__module__ != module:
        return False
    method = value.__dict__.get(METHOD)
    return callable(method) and not getattr(method, "__isabstractmethod__", False)


def _wrap(layer: type) -> None:
    import torch

    original = layer.__dict__[METHOD]
    is_compiling = torch.compiler.is_compiling

    @wraps(original)
    def lazy_initialization(self: Any, *args: Any, **kwargs: Any) -> Any:
        if is_compiling():  # traced: anything else here would break the graph
            return original(self, *args, **kwargs)
        value = original(self, *args, **kwargs)
        if _outermost(self) is layer:
            _allocated(self)
        return value

    setattr(lazy_initialization, MARK, original)
    setattr(layer, METHOD, lazy_initialization)


def _outermost(layer: Any) -> type | None:
    """The class whose wrap was entered first: a subclass calls its parent's method, and one allocation counts once."""
    return next((kind for kind in type(layer).__mro__ if hasattr(kind.__dict__.get(METHOD), MARK)), None)


def _allocated(layer: Any) -> None:
    with suppress(BaseException):  # a hook never breaks generate()
        shape = tuple(int(size) for size in getattr(getattr(layer, "keys", None), "shape", ()))
        reason = f"{type(layer).__name__} {shape}" if any(shape) else type(layer).__name__
        RUNS.push("transformers", OneTimeWork(kind="kv_cache.allocate", reason=reason))
