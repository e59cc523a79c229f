"""Locks that survive a fork: the child of a process in which another thread held one would wait for it for ever."""

from __future__ import annotations

import os
import threading
from weakref import WeakSet


class Locked:
    """Has ``_lock``, reentrant (a signal handler may emit too) and new in every forked child."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _HOLDERS.add(self)


_HOLDERS: WeakSet[Locked] = WeakSet()


def _renew() -> None:
    for holder in list(_HOLDERS):
        holder._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
