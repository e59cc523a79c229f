"""
KV-cache allocation: each cache layer of transformers allocates when it sees its first keys (``lazy_initialization``).

A ``generate()`` call makes a new cache, so this cost usually comes back on every run; whether it does is learnt
elsewhere. Executed on transformers 5.23; the method has been there since 4.56.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from jitwarmup.probes.base import ARMED, ChainedHook, HookProbe, absent, loaded
from jitwarmup.probes.run_table import RUNS
from jitwarmup.records.protocols import ArmState
from jitwarmup.records.runs import OneTimeWork

MODULE = "transformers.cache_utils"
METHOD = "lazy_initialization"


class Transformers(HookProbe):
    """Kind: ``kv_cache.allocate``, one for each layer; the reason holds the layer's class and the shape of its keys."""

    name = "transformers"

    def __init__(self) -> None:
        self._hooks: dict[type, ChainedHook] = {}

    def arm(self) -> ArmState:
        """Dormant until ``transformers.cache_utils`` is loaded; hooks into every layer class defined there."""
        module = loaded(MODULE)
        if module is None:
            return absent(MODULE)
        for layer in [] if self._hooks else [kind for kind in vars(module).values() if _is_layer(kind)]:
            from torch.compiler import is_compiling

            callback = partial(self._allocated, layer)
            self._hooks[layer] = ChainedHook(layer, METHOD, callback, after=True, skip=is_compiling)
        return ARMED if self._hooks else ArmState("unavailable", f"no layer in {MODULE} has {METHOD}")

    def disarm(self) -> None:
        """Puts the methods back, except where somebody has wrapped ours since."""
        for hook in self._hooks.values():
            hook.leave()
        self._hooks.clear()

    def _allocated(self, hooked: type, layer: Any, *_args: Any, **_kwargs: Any) -> None:
        if hooked is not next(kind for kind in type(layer).__mro__ if kind in self._hooks):
            return  # a subclass calls its parent's method, and one allocation counts once
        shape = tuple(int(size) for size in getattr(getattr(layer, "keys", None), "shape", ()))
        reason = f"{type(layer).__name__} {shape}" if any(shape) else type(layer).__name__
        RUNS.push("transformers", OneTimeWork(kind="kv_cache.allocate", reason=reason))


def _is_layer(value: Any) -> bool:
    if not inspect.isclass(value) or value.__module__ != MODULE:
        return False
    method = value.__dict__.get(METHOD)
    return callable(method) and not getattr(method, "__isabstractmethod__", False)
