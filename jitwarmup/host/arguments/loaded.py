"""Classes of libraries that are loaded already; nothing is imported for a question about a value."""

from __future__ import annotations

import sys
from typing import Any


def loaded_class(module: str, name: str) -> type[Any] | None:
    """A class of a module that is loaded already, else None."""
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else None


def is_instance(value: Any, module: str, name: str) -> bool:
    """Whether a value is of a class that a loaded module has."""
    kind = loaded_class(module, name)
    return kind is not None and isinstance(value, kind)


def is_tensor(value: Any) -> bool:
    """Whether a value is a torch tensor."""
    return is_instance(value, "torch", "Tensor")


def is_array(value: Any) -> bool:
    """Whether a value is a numpy array."""
    return is_instance(value, "numpy", "ndarray")
