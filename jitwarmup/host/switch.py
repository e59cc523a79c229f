"""The off switch: ``JITWARMUP=off`` in the environment (read at import), or ``jitwarmup.testing.inactive()``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from jitwarmup.host.fork_safe import Locked


class Switch(Locked):
    """Counts the reasons to be off; any is enough."""

    def __init__(self, *, off: bool) -> None:
        super().__init__()
        self.reasons = int(off)

    @contextmanager
    def inactive(self) -> Iterator[None]:
        """Every decorated call is the plain call, and nothing is emitted, until the block is left."""
        with self._lock:
            self.reasons += 1
        try:
            yield
        finally:
            with self._lock:
                self.reasons -= 1


SWITCH = Switch(off=os.environ.get("JITWARMUP", "").strip().lower() in ("off", "0", "false", "no"))
