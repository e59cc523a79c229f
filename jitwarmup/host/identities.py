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

from jitwarmup.host.fork_safe import Locked

METHODS = ("generate_span_id", "generate_trace_id")
LOCK = Locked()
OPEN: list[object] = []  # who has it open
ORIGINALS: dict[tuple[type[Any], str], Callable[..., Any]] = {}


@contextmanager
def new_identities() -> Iterator[None]:
    """While it is open, every identity that a loaded OpenTelemetry SDK draws is a new one, whatever the random state is."""
    mine = object()
    with LOCK._lock:
        OPEN.append(mine)
        for cls in generators():
            for name in METHODS:
                if (cls, name) not in ORIGINALS and name in vars(cls):
                    ORIGINALS[cls, name] = vars(cls)[name]
                    setattr(cls, name, fresh(vars(cls)[name]))
    try:
        yield
    finally:
        with LOCK._lock:
            OPEN.remove(mine)
            while not OPEN and ORIGINALS:
                (cls, name), original = ORIGINALS.popitem()
                setattr(cls, name, original)


def generators() -> Iterator[type[Any]]:
    """The classes of id generators, where the SDK is loaded."""
    base = getattr(sys.modules.get("opentelemetry.sdk.trace.id_generator"), "IdGenerator", None)
    found = [] if base is None else [base]
    while found:
        cls = found.pop()
        yield cls
        found += cls.__subclasses__()


def fresh(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, drawing from fresh randomness, and leaving the stream as it was."""

    @functools.wraps(method)
    def drawn(*args: Any, **kwargs: Any) -> Any:
        state = random.getstate()
        random.seed()
        try:
            return method(*args, **kwargs)
        finally:
            random.setstate(state)

    return drawn
