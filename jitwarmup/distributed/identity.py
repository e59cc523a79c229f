"""Who we are in a job of several processes, as torch.distributed tells it. torch is looked up, never imported."""

from __future__ import annotations

import sys
from typing import Any


def distributed() -> Any:
    """``torch.distributed`` where it is loaded and initialised, else None."""
    module: Any = getattr(sys.modules.get("torch"), "distributed", None)
    try:
        return module if module is not None and module.is_available() and module.is_initialized() else None
    except (AttributeError, RuntimeError, ValueError):
        return None


def identity() -> dict[str, int]:
    """``rank`` and ``world_size`` for events, where torch.distributed is initialised."""
    module = distributed()
    try:
        return {} if module is None else {"rank": module.get_rank(), "world_size": module.get_world_size()}
    except (AttributeError, RuntimeError, ValueError):
        return {}
