"""Several emitters behind one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from jitwarmup.events.guard import SafeEmitter, name_of
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.protocols import Emitter


class Fanout:
    """
    An emitter that hands each event to several, in the order given; one that fails is counted and passed over.

    To keep the usual log as well, give ``default_emitter()`` as one of them.
    """

    def __init__(self, *emitters: Emitter) -> None:
        for emitter in emitters:
            if isinstance(emitter, type) or not isinstance(emitter, Emitter) or hasattr(emitter, "createLock"):
                raise ArgumentError(
                    f"Fanout got {name_of(emitter)}; wanted an object with emit(event, level, fields). "
                    "Wrap a logger with as_emitter(logger)."
                )
        self.sinks = tuple(SafeEmitter(emitter) for emitter in emitters)

    @property
    def lost(self) -> int:
        """Events that an emitter raised on, summed over all of them."""
        return sum(sink.lost for sink in self.sinks)

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Hand the event to every emitter."""
        for sink in self.sinks:
            sink.emit(event, level, fields)

    @contextmanager
    def warming(self, fields: Mapping[str, Any]) -> Iterator[None]:
        """Around validation and warm-up: enters the ``warming(fields)`` of every emitter that has one."""
        with ExitStack() as stack:
            for sink in self.sinks:
                stack.enter_context(sink.warming(fields))
            yield
