"""
Identities that are drawn from the process's random stream: rewound with it, two spans would have one name.

OpenTelemetry's id generators draw from ``random``. While runs start from one random state, each identity is drawn from
fresh randomness instead, and the stream is left as it was: a plain call would have found it so.
"""

from __future__ import annotations

import functools
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from jitwarmup.host.random_streams import STREAMS

METHODS = ("generate_span_id", "generate_trace_id")
OPEN: WeakSet[Open] = WeakSet()  # weak: one that was interrupted on its way in or out is open no longer


class Open:
    """That somebody wants new identities."""

    __slots__ = ("__weakref__",)


@contextmanager
def new_identities() -> Iterator[None]:
    """While it is open, every identity that a loaded OpenTelemetry SDK draws is a new one, whatever the random state is."""
    mine = Open()
    try:
        with STREAMS._lock:
            OPEN.add(mine)
            for cls, name, method in methods():
                if not hasattr(method, "draws_anew"):
                    setattr(cls, name, fresh(method))
        yield
    finally:
        OPEN.discard(mine)


def methods() -> Iterator[tuple[type[Any], str, Callable[..., Any]]]:
    """The methods that draw identities, where the SDK is loaded."""
    for cls in tuple(generators()):
        yield from ((cls, name, vars(cls)[name]) for name in METHODS if name in vars(cls))


def generators() -> Iterator[type[Any]]:
    """The classes of id generators, where the SDK is loaded."""
    base = getattr(sys.modules.get("opentelemetry.sdk.trace.id_generator"), "IdGenerator", None)
    found = [] if base is None else [base]
    while found:
        cls = found.pop()
        yield cls
        found += cls.__subclasses__()


def fresh(method: Callable[..., Any]) -> Callable[..., Any]:
    """
    The method; while somebody wants it, drawing from fresh randomness and leaving the stream as it was.

    It stays so: another thread may be about to call what is there now. One draws at a time, and nobody notes or rewinds
    the stream meanwhile: who did would name twice.
    """

    @functools.wraps(method)
    def drawn(*args: Any, **kwargs: Any) -> Any:
        with STREAMS._lock:
            if not OPEN:
                return method(*args, **kwargs)
            state = random.getstate()
            random.seed()
            try:
                return method(*args, **kwargs)
            finally:
                random.setstate(state)

    drawn.draws_anew = True  # type: ignore[attr-defined]
    return drawn
