"""Public names that are imported when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazily(
    package: str, modules: Mapping[str, str]
) -> tuple[dict[str, str], Callable[[str], Any], Callable[[], list[str]]]:
    """From modules and the names in each: name -> module, and the package's ``__getattr__`` and ``__dir__``."""
    where = {name: module for module, names in modules.items() for name in names.split()}
    own = vars(sys.modules[package])

    def find(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        own[name] = getattr(importlib.import_module(f"{package}.{where[name]}"), name)
        return own[name]

    return where, find, lambda: sorted({*own, *where})
