"""Several processes that must decide alike. Nothing is agreed on yet: every rank decides for itself."""

from __future__ import annotations

import sys
from typing import Any

from jitwarmup.model.ports import Ranks


def ranks_of(given: Any, *, unset: Any, explicit: bool) -> Ranks | None:  # noqa: ARG001 - the port's place, filled by a later issue
    """The ranks to agree with, or None."""
    return None


def identity() -> dict[str, int]:
    """``rank`` and ``world_size`` for events, where torch.distributed is initialised (looked up, never imported)."""
    distributed: Any = getattr(sys.modules.get("torch"), "distributed", None)
    try:
        if distributed is None or not distributed.is_available() or not distributed.is_initialized():
            return {}
        return {"rank": distributed.get_rank(), "world_size": distributed.get_world_size()}
    except (AttributeError, RuntimeError, ValueError):
        return {}
