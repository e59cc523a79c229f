"""
Whether compiled code really ran: "no compile events" does not mean "compiled".

Past the recompile limit, under ``eager_on_recompile`` or ``force_eager``, torch runs eager code and makes no event at
all. Its guard hook (``torch._C._dynamo.eval_frame.set_guard_complete_hook``) is asked at each call
of compiled code whether an entry served it. It costs about 5 us a call, so one warm-up run carries it and no other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Self

# The hook is one slot of the process: of two audits at once the second looks at nothing.
_SLOT: dict[str, CompiledCallCounter] = {}


class CompiledCallCounter:
    """
    Counts, from ``start`` to ``stop``, calls of compiled functions that compiled code served, and those it did not.

    A hook that somebody else has set is asked first and its answer kept. Entered before the start, and twice: an
    interrupt may come at the very beginning of an exit.
    """

    def __init__(self) -> None:
        self.served = 0
        self.missed = 0
        self._module: Any = None
        self._former: Callable[[bool], bool] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self) -> bool:
        """Begin to count; False where torch offers no hook, Dynamo is not loaded, or somebody else is counting."""
        module: Any = sys.modules.get("torch._C._dynamo.eval_frame")
        if "torch._dynamo" not in sys.modules or not hasattr(module, "set_guard_complete_hook"):
            return False
        if _SLOT.setdefault("hook", self) is not self:
            return False
        self._module = module  # before the hook is in: interrupted meanwhile, it is taken out all the same
        self._former = module.set_guard_complete_hook(self._on_call)
        return True

    def stop(self) -> None:
        """Count no more, and put back the hook that was there."""
        if self._module is not None:
            self._module.set_guard_complete_hook(self._former)
            self._module = None
        if _SLOT.get("hook") is self:
            del _SLOT["hook"]

    @staticmethod
    def under_way() -> CompiledCallCounter | None:
        """Who counts now, for code inside of the audited run that wants to know its own share."""
        return _SLOT.get("hook")

    def _on_call(self, hit: bool) -> bool:
        if self._former is not None:
            hit = self._former(hit)
        if hit:
            self.served += 1
        else:
            self.missed += 1
        return hit


def asked_for(function: Any) -> str | None:
    """
    How compiled code was asked for, in words; None where it was not, as far as can be known.

    By ``torch.compile`` around the function, its object or what it is a partial of, by ``model.compile()``, or refused to
    all compiled functions by a stance. Of a compiled generator within a plain function nothing can be known: torch runs it
    uncompiled, without a word.
    """
    things = (function, *(getattr(function, name, None) for name in ("__self__", "func", "forward")))
    attributes = [getattr(thing, "__dict__", {}) for thing in things]
    if any("_torchdynamo_orig_callable" in each or each.get("_compiled_call_impl") is not None for each in attributes):
        return "torch.compile"
    stance = getattr(sys.modules.get("torch._dynamo.eval_frame"), "_stance", None)
    return "force_eager" if getattr(stance, "stance", None) == "force_eager" else None
