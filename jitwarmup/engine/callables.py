"""
Which colour a callable has, what it is called, and how it quacks.

``inspect`` tells a coroutine function by ``__code__``; an object that carries ``__code__``, ``__defaults__`` and
``__kwdefaults__`` of its function answers all of its questions (``inspect._signature_is_functionlike``).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from jitwarmup.engine.commands import CallableKind

FACE = ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__", "__type_params__")
CODE = ("__code__", "__defaults__", "__kwdefaults__")


def innermost(function: Any) -> Any:
    """The function behind partials, bound methods and callable objects: the one that has the code."""
    while True:
        if isinstance(function, functools.partial | functools.partialmethod):
            function = function.func
        elif inspect.ismethod(function) or isinstance(function, classmethod | staticmethod):
            function = function.__func__
        elif inspect.isroutine(function) or hasattr(function, "__code__") or isinstance(function, type):
            return function
        elif callable(function):
            function = type(function).__call__
        else:
            return function


def kind_of(function: Callable[..., Any]) -> CallableKind:
    """The colour, by what the function was declared as."""
    code_holder = innermost(function)
    tests = {
        CallableKind.COROUTINE: inspect.iscoroutinefunction,
        CallableKind.ASYNC_GENERATOR: inspect.isasyncgenfunction,
        CallableKind.GENERATOR: inspect.isgeneratorfunction,
    }
    return next((kind for kind, test in tests.items() if test(function) or test(code_holder)), CallableKind.PLAIN)


def name_of(function: Any) -> str:
    """Module and qualified name, never a repr: a partial's shows its arguments."""
    named = function
    while isinstance(named, functools.partial | functools.partialmethod):
        named = named.func
    if not hasattr(named, "__qualname__"):
        named = type(named)
    return f"{getattr(named, '__module__', None) or 'builtins'}.{named.__qualname__}"


def face_of(function: Any) -> dict[str, Any]:
    """The attributes by which a wrapper quacks as its function."""
    face = {name: getattr(function, name) for name in FACE if hasattr(function, name)}
    face.setdefault("__name__", getattr(innermost(function), "__name__", type(function).__name__))
    face.setdefault("__qualname__", face["__name__"])
    inner = innermost(function)
    if hasattr(inner, "__code__"):
        face |= {name: getattr(inner, name, None) for name in CODE}
    return {**getattr(function, "__dict__", {}), **face} if inspect.isroutine(function) else face
