"""
Several sinks behind one emitter, and hooks as in stamina.

A *hook* is called with ``Details`` for each event. When a warm-up begins, hooks are called once more, with the event
``jitwarmup.warmup.started``, which no log ever sees; a hook that then returns a context manager has it entered for the
time of validation and warm-up: a span, a progress bar, a lock. A ``HookFactory`` makes its hook or emitter on first use,
so that what it imports is paid only by who emits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from jitwarmup.events.dropped import Dropped, name_of
from jitwarmup.events.spans import harmless
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.protocols import Emitter

WARMUP_STARTED: Final = "jitwarmup.warmup.started"


@dataclass(frozen=True, slots=True)
class Details:
    """What a hook is told: the event, its level and its fields, which hold no argument and no output."""

    event: str
    level: str
    fields: Mapping[str, Any]


Hook = Callable[[Details], AbstractContextManager[Any] | None]


@dataclass(frozen=True, slots=True)
class HookFactory:
    """Wraps a callable that returns a hook or an emitter; it is called when the first event comes."""

    make: Callable[[], Hook | Emitter]


class Hooks:
    """
    An emitter that tells several hooks and emitters, in the order given; one that fails is counted and passed over.

    ``steady_state(log=Hooks(None_or_logger, hook, HookFactory(make)))``; to keep the usual log as well, give
    ``default_emitter()`` as one of them.
    """

    def __init__(self, *sinks: Hook | Emitter | HookFactory) -> None:
        for sink in sinks:
            if isinstance(sink, type) or not (callable(sink) or isinstance(sink, HookFactory | Emitter)):
                raise ArgumentError(
                    f"Hooks got {name_of(sink)}; wanted a callable taking Details, an object with emit(event, level, "
                    "fields), or a HookFactory. Wrap a logger with adapt(logger)."
                )
        self._waiting: tuple[Hook | Emitter | HookFactory, ...] = sinks
        self._told: list[tuple[Hook, Dropped]] = []

    @property
    def lost(self) -> int:
        """Events that a hook or emitter raised on, summed over all of them."""
        return sum(losses.count for _, losses in self._told)

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Tell every hook and emitter."""
        details = Details(event, level, fields)
        for hook, losses in self._ready():
            _tell(hook, losses, details)

    @contextmanager
    def warming(self, fields: Mapping[str, Any]) -> Iterator[None]:
        """Around validation and warm-up: enters what the hooks return, and leaves it whatever happens inside."""
        details = Details(WARMUP_STARTED, "debug", fields)
        with ExitStack() as stack:
            for hook, losses in self._ready():
                if not isinstance(hook, _AsHook):
                    stack.enter_context(harmless(_tell(hook, losses, details), losses))
            yield

    def _ready(self) -> list[tuple[Hook, Dropped]]:
        if self._waiting:
            waiting, self._waiting = self._waiting, ()
            for sink in waiting:
                losses = Dropped(name_of(sink))
                try:
                    self._told.append((_as_hook(sink), losses))
                except Exception as error:  # noqa: BLE001 - an extra that is not installed must not break the user
                    losses.add(f"could not be made ({type(error).__name__})")
        return self._told


class _AsHook:
    """An emitter in the shape of a hook; it is not told of the start of a warm-up."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter

    def __call__(self, details: Details) -> None:
        self._emitter.emit(details.event, details.level, details.fields)


def _as_hook(sink: Hook | Emitter | HookFactory) -> Hook:
    made = sink.make() if isinstance(sink, HookFactory) else sink
    return _AsHook(made) if isinstance(made, Emitter) else made


def _tell(hook: Hook, losses: Dropped, details: Details) -> AbstractContextManager[Any] | None:
    try:
        return hook(details)
    except Exception as error:  # noqa: BLE001 - a hook's failure must not become the user's
        losses.add(f"raised {type(error).__name__}")
        return None
