"""
Which kind of callable a function is, what it is called, and how a wrapper quacks as it.

``inspect`` knows a coroutine function by ``__code__``; an object that carries ``__code__``, ``__defaults__`` and
``__kwdefaults__`` of its function answers all of its questions (``inspect._signature_is_functionlike``).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import Enum
from types import FunctionType
from typing import Any

from jitwarmup.records.errors import ArgumentError

COPIED = ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__", "__type_params__")
CODE = ("__code__", "__defaults__", "__kwdefaults__", "__closure__", "__globals__")
HOLDERS = (functools.partial, functools.partialmethod, functools.singledispatchmethod)


class CallableKind(Enum):
    """What kind of callable the user's function is."""

    FUNCTION = "def"
    COROUTINE = "async def"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"

    @property
    def asynchronous(self) -> bool:
        """Whether its runs are awaited."""
        return self in (CallableKind.COROUTINE, CallableKind.ASYNC_GENERATOR)

    @property
    def streams(self) -> bool:
        """Whether its runs yield items."""
        return self in (CallableKind.GENERATOR, CallableKind.ASYNC_GENERATOR)


def innermost(function: Any) -> Any:
    """The function behind partials, bound methods, descriptors and callable objects: the one that has the code."""
    while True:
        if isinstance(function, HOLDERS):
            function = function.func
        elif inspect.ismethod(function) or isinstance(function, classmethod | staticmethod):
            function = function.__func__
        elif not hasattr(function, "__code__") and isinstance(
            call := inspect.getattr_static(type(function), "__call__", None), FunctionType
        ):
            function = call
        else:
            return function


def kind_of(function: Callable[..., Any]) -> CallableKind:
    """The kind, by what the function was declared as."""
    code_holder = innermost(function)
    tests = {
        CallableKind.COROUTINE: inspect.iscoroutinefunction,
        CallableKind.ASYNC_GENERATOR: inspect.isasyncgenfunction,
        CallableKind.GENERATOR: inspect.isgeneratorfunction,
    }
    return next((kind for kind, test in tests.items() if test(function) or test(code_holder)), CallableKind.FUNCTION)


def runs_later(function: Any) -> bool:
    """Whether calling it only binds its arguments; a proxy may do more, whatever code it shows."""
    inner, lazy = innermost(function), inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
    return type(inner) is FunctionType and bool(inner.__code__.co_flags & lazy)


def name_of(function: Any) -> str:
    """Module and qualified name, never a repr: a partial's shows its arguments. Compiled, as what was compiled."""
    named = function
    while (inner := inside(named)) is not None:
        named = inner
    if type(named).__module__.startswith("torch") and (made_of := source_of(named)) is not None:
        return made_of
    if not hasattr(named, "__qualname__"):
        named = type(named)
    return f"{getattr(named, '__module__', None) or 'builtins'}.{named.__qualname__}"


def inside(named: Any) -> Any:
    """What a partial, a compiled or a parallel module wraps, or a method of those; None where it is the thing itself."""
    if isinstance(named, HOLDERS):
        return named.func
    if isinstance(named, FunctionType):
        return vars(named).get("_torchdynamo_orig_callable")
    if inspect.ismethod(named) and named.__name__ in ("forward", "__call__"):
        return named.__self__ if inside(named.__self__) is not None else None
    if not type(named).__module__.startswith("torch"):
        return None
    wrapped = getattr(named, "_orig_mod", None)
    parallel = wrapped is None and "parallel" in type(named).__module__
    return getattr(named, "module", None) if parallel else wrapped


def source_of(named: Any) -> str | None:
    """The class or function that torch exported, scripted or traced, as far as it still says so."""
    try:
        if (scripted := getattr(named, "qualified_name", None) or getattr(named, "_c", None)) is not None:
            full = scripted if isinstance(scripted, str) else scripted._type().qualified_name()
            parts = [part for part in full.split(".") if part != "__torch__" and not part.startswith("___torch_mangle")]
            return ".".join(parts if len(parts) > 1 else ["__main__", *parts])
        stacks = [node.meta.get("nn_module_stack") or {} for node in named.graph.nodes]
        kinds = [kind for stack in stacks for path, kind in stack.values() if not path]
        return str(kinds[0]) if kinds else type(named).__name__
    except Exception:  # noqa: BLE001 - torch's private parts: the object keeps the name of its own class
        return None


def wrapper_attributes(function: Any) -> dict[str, Any]:
    """The attributes by which a wrapper quacks as its function."""
    found = {name: getattr(function, name) for name in COPIED if hasattr(function, name)}
    found.setdefault("__name__", getattr(innermost(function), "__name__", type(function).__name__))
    found.setdefault("__qualname__", found["__name__"])
    inner = innermost(function)
    if hasattr(inner, "__code__"):
        found |= {name: getattr(inner, name, None) for name in CODE}
    return {**getattr(function, "__dict__", {}), **found} if inspect.isroutine(function) else found


def check_kind(name: str, kind: CallableKind, value: Any) -> None:
    """
    Refuse a plain function whose value is only the promise of work: its runs would time nothing.

    Raises:
        ArgumentError: names the kind that was found.

    """
    if kind is not CallableKind.FUNCTION:
        return
    kinds: dict[str, Callable[[object], bool]] = {
        "a coroutine": inspect.iscoroutine,
        "an async generator": inspect.isasyncgen,
        "a generator": inspect.isgenerator,
        "an awaitable": lambda value: inspect.isawaitable(value) and not hasattr(value, "add_done_callback"),
    }
    found = next((what for what, test in kinds.items() if test(value)), None)
    if found is None:
        return
    if inspect.iscoroutine(value) or inspect.isgenerator(value):
        value.close()
    raise lazy(name, kind, found)


def lazy(name: str, kind: CallableKind, found: str) -> ArgumentError:
    """The error for a function that returned work that is still to be done."""
    plain = "an async function" if kind.asynchronous else "a plain function"
    wanted = {"a coroutine": "async def", "an awaitable": "async def", "an async generator": "async def with yield"}
    return ArgumentError(
        f"{name} is {plain} that returned {found}, so its runs would time nothing; wanted a function declared as what it is "
        f"({wanted.get(found, 'def with yield')}), or one that waits for the result: decorate the inner function, or wrap it"
    )
