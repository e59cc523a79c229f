"""
What must happen in a forked child, and reading a collection that other threads change.

The child of a process in which another thread held a lock would wait for it for ever.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar
from weakref import WeakMethod, WeakSet

_T = TypeVar("_T")


def snapshot_of(collection: Iterable[_T]) -> list[_T]:
    """
    What a dict, set or weak set holds now, without a lock.

    ``list()`` raises where a garbage collection inside it lets another thread add something; then it is tried again.
    """
    for _ in range(8):
        try:
            return list(collection)
        except RuntimeError:
            continue
    return []


def taken(waiting: deque[_T]) -> Iterator[_T]:
    """What waits, each taken out by one step."""
    while waiting:
        try:
            item = waiting.popleft()
        except IndexError:  # another thread was quicker
            return
        yield item


def after_fork_in_child(callback: Callable[[], Any]) -> None:
    """Call this in every forked child; a bound method is held weakly where it can be, so that its object may go."""
    try:
        _CALLBACKS.add(WeakMethod(callback, _CALLBACKS.discard))
    except TypeError:  # a function, or an object without weak references
        _CALLBACKS.add(lambda: callback)


_CALLBACKS: set[Callable[[], Callable[[], Any] | None]] = set()


class Locked:
    """Has ``_lock``, reentrant (a signal handler may emit too) and new in every forked child."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _HOLDERS.add(self)


_HOLDERS: WeakSet[Locked] = WeakSet()


def _in_child() -> None:
    for holder in snapshot_of(_HOLDERS):
        holder._lock = threading.RLock()
    for weak in snapshot_of(_CALLBACKS):
        callback = weak()
        if callback is not None:
            callback()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
