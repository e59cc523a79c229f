"""
How a warmed function goes to another process: by name where its name leads back to it, else by its parts.

The parts are the function and the options; what arrives is cold. A pickler that ships code by value (cloudpickle's and
dill's, which Ray, Dask, Spark and joblib use) wants the parts of whatever the other process cannot import.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields, replace
from types import FrameType
from typing import Any

from jitwarmup.engine.options import UNSET, Options

BY_VALUE = ("cloudpickle", "dill")
NEAR = 30  # frames between a pickler and what it asks: a user's __getstate__ may stand in between


def reduced(warmed: Any, core: Any) -> str | tuple[Any, ...]:
    """What ``pickle`` shall write of a warmed function."""
    if leads_to(warmed) and not ships_by_value(warmed.__module__):
        name: str = warmed.__qualname__
        return name
    return rebuilt, (type(warmed), core.raw, travelling(core.options)), {"owner": core.owner}, None, None, own


def reduced_bound(bound: Any, warmed: Any, instance: Any) -> tuple[Any, ...]:
    """What ``pickle`` shall write of a warmed method: its object, and the name by which that has it, or its parts."""
    name = warmed.__name__
    if getattr(type(instance), name, None) is warmed or getattr(instance, name, None) == bound:
        return getattr, (instance, name)
    return type(bound), (warmed, instance)


def leads_to(warmed: Any) -> bool:
    """Whether module and qualified name lead back to this object."""
    found: Any = sys.modules.get(warmed.__module__)
    for part in warmed.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is warmed


def ships_by_value(module: str) -> bool:
    """Whether a pickler is at work, among the callers, that ships the code of a module by value: the script's, or as it was told."""
    frame: FrameType | None = sys._getframe(1)
    for _ in range(NEAR):
        if frame is None:
            break
        if runs_code_of(frame, BY_VALUE):
            chosen = ("__main__", *frame.f_globals.get("_PICKLE_BY_VALUE_MODULES", ()))  # cloudpickle's register
            return any(f"{module}.".startswith(f"{each}.") for each in chosen)
        frame = frame.f_back
    return False


def taken_apart() -> bool:
    """Whether whoever asks for an attribute would take a function for the whole of what it is: such a pickler, or Dynamo."""
    return runs_code_of(sys._getframe(2), (*BY_VALUE, "torch"))


def runs_code_of(frame: FrameType, packages: tuple[str, ...]) -> bool:
    """Whether a frame runs code of one of these packages, vendored ones too."""
    return any(part in packages for part in str(frame.f_globals.get("__name__")).split("."))


def travelling(options: Options) -> dict[str, Any]:
    """The options as they travel: a monitor and ranks belong to this process."""
    given = replace(options, monitor=None, ranks=UNSET)
    defaults = Options()
    named = {each.name: getattr(given, each.name) for each in fields(Options)}
    return {name: value for name, value in named.items() if value != getattr(defaults, name)}


def rebuilt(kind: Callable[..., Any], raw: Any, options: dict[str, Any]) -> Any:
    """A cold one of the parts."""
    return kind(raw, Options(**options))


def own(warmed: Any, state: dict[str, Any]) -> None:
    """The class that it is a method of: it may be pickled itself at this moment, so it comes after the parts."""
    warmed._core.owner = state["owner"]
