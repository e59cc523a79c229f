"""
Which ranks are ready, told through the job's store, so that a health probe neither waits nor takes part in anything.

Each rank leaves a mark when all that it was asked to warm up is warm, and takes it away when that is lost. A thread looks
for the marks of the others for as long as somebody asks; who asks gets what was seen last.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable

from jitwarmup.distributed.identity import distributed
from jitwarmup.distributed.notices import NoticeBoard, StoreGone

LOOK_S = 0.5  # between two looks
IDLE_S = 60.0  # without a question, after which nobody looks any more
STOP_S = 1.0  # that the process's exit waits for a look under way
MARK = "ready"


class Herald:
    """Tells the other ranks of this one, and this one of the others. Nothing here raises or waits."""

    def __init__(self) -> None:
        self._board = NoticeBoard("jitwarmup")
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._looker: threading.Thread | None = None
        self._asked_at = 0.0
        self._missing: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._telling = threading.Lock()
        self._ready = False

    def tell(self, *, ready: bool) -> None:
        """Say whether this rank is ready."""
        dist = distributed()
        self._ready = ready
        if dist is not None:
            telling = (self._tell, dist.get_rank())
            threading.Thread(target=ignoring_store_errors, args=telling, name="jitwarmup-herald", daemon=True).start()

    def _tell(self, rank: int) -> None:
        """One at a time, and whatever is true by then: threads may come in another order than they were started."""
        with self._telling:
            act = self._board.put if self._ready else self._board.drop
            act(MARK, rank)

    def missing(self, members: tuple[int, ...]) -> tuple[int, ...]:
        """The ranks among these that are not ready, as seen last; all of them where nobody has looked yet."""
        with self._lock:
            self._asked_at = time.monotonic()
            self._missing.setdefault(members, members)
            if self._looker is None or not self._looker.is_alive():
                self._looker = threading.Thread(target=self._look_on, name="jitwarmup-herald", daemon=True)
                self._looker.start()
                atexit.unregister(self._end)
                atexit.register(self._end)
            return self._missing[members]

    def _look_on(self) -> None:
        """Look until nobody has asked for a while."""
        while time.monotonic() - self._asked_at < IDLE_S:
            for members in tuple(self._missing):
                ignoring_store_errors(self._look, members)
            if self._stop.wait(LOOK_S):
                return

    def _look(self, members: tuple[int, ...]) -> None:
        """One look; a store that does not answer leaves what was seen last."""
        here = self._board.all_put(MARK, members)
        self._missing[members] = () if here else self._board.missing(MARK, members)

    def _end(self) -> None:
        """At exit: a thread inside of the store's code must not outlive the interpreter."""
        self._stop.set()
        if self._looker is not None:
            self._looker.join(STOP_S)


def ignoring_store_errors(act: Callable[..., object], *args: object) -> None:
    """Do something with the store, which may be gone."""
    try:
        act(*args)
    except StoreGone:
        return


HERALD = Herald()
