"""Context managers of others, held so that they can neither raise into the user's code nor swallow what it raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from jitwarmup.events.dropped import Dropped


@contextmanager
def harmless(span: AbstractContextManager[Any] | None, losses: Dropped) -> Iterator[None]:
    """Enter and leave a hook's context manager; it can neither raise nor swallow what is raised inside."""
    entered = False
    try:
        if span is not None:
            span.__enter__()
            entered = True
    except Exception as error:  # noqa: BLE001 - as above
        losses.add(f"raised {type(error).__name__} on entry")
    try:
        yield
    finally:
        if entered and span is not None:
            _leave(span, losses)


def _leave(span: AbstractContextManager[Any], losses: Dropped) -> None:
    try:
        span.__exit__(None, None, None)
    except Exception as error:  # noqa: BLE001 - as above
        losses.add(f"raised {type(error).__name__} on exit")
