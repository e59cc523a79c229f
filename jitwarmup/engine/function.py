"""What all calls of one warmed function share: the checked options, the function, and the ledger of what is warm."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

from jitwarmup.engine.callables import colour_of, innermost, name_of
from jitwarmup.engine.commands import Call, CallableKind, TimedFunction, planned
from jitwarmup.engine.inputs import Inputs
from jitwarmup.engine.instruments import Instruments, open_session
from jitwarmup.engine.options import UNSET, Options
from jitwarmup.host.scope import CURRENT, block_settings, enclosing_run
from jitwarmup.host.switch import SWITCH
from jitwarmup.host.tracing import Tracing
from jitwarmup.keys.registry import KeyRegistry, KeyState
from jitwarmup.records.errors import ArgumentError

Prefix = tuple[Any, ...]


def binding_of(raw: Any) -> tuple[str, Any]:
    """How the decorated thing binds, and the function that is called with what it binds to in front."""
    if isinstance(raw, staticmethod):
        return "none", raw.__func__
    if isinstance(raw, classmethod):
        return "class", raw.__func__
    if isinstance(inner := getattr(raw, "_core", None), WarmedFunction) and not hasattr(raw, "__self__"):
        return inner.binding, raw  # a warmed one binds as what it was made of
    if not hasattr(type(raw), "__get__") or hasattr(raw, "__self__"):  # a bound method is not bound again
        return "none", raw
    return "function", (raw if callable(raw) else through(raw))


def through(descriptor: Any) -> Callable[..., Any]:
    """A function for what is callable only when bound (a partialmethod): it binds at each call, and shares its keys."""

    @functools.wraps(innermost(descriptor))
    def bound(instance: Any, /, *args: Any, **kwargs: Any) -> Any:
        return descriptor.__get__(instance, type(instance))(*args, **kwargs)

    return bound


def check_dry_run(dry_run: Any, colour: CallableKind) -> None:
    """Refuse a stand-in that cannot be run as the function is."""
    if dry_run is not None and colour_of(dry_run) is not colour:
        raise ArgumentError(
            f"dry_run got a function declared with '{colour_of(dry_run).value}'; wanted '{colour.value}', as the "
            "decorated one is: it is run in its place"
        )


class WarmedFunction:
    """
    One decorated function.

    Args:
        raw: what was decorated, descriptors included.
        options: the checked options.

    """

    def __init__(self, raw: Any, options: Options) -> None:
        self.raw = raw
        self.binding, self.function = binding_of(raw)
        self.options = options
        self.name = options.name or name_of(self.function)
        self.colour = colour_of(raw)
        check_dry_run(options.dry_run, self.colour)
        self.owner: type[Any] | None = None
        self.quiet = False
        self.quiet_tokens: frozenset[int] = frozenset()
        self.sessions: dict[bool, Instruments] = {}
        self._subject: TimedFunction | None = None
        self.ledger = KeyRegistry()
        self.ledger.name = options.name or self.name
        self.ledger.planned = planned(options)
        self.ledger.listeners.append(self.refresh)

    def refresh(self) -> None:
        """With ``emit="off"`` warm calls go straight to the function; note for whom that holds now."""
        if self.options.emit != "off" or self.options.key is not None:
            return
        warm = [key[0] for key, entry in tuple(self.ledger.entries.items()) if entry.is_warm]
        self.quiet = 0 in warm
        self.quiet_tokens = frozenset(warm)

    def reset(self) -> None:
        """Forget what is warm: the next call of every key is a first call."""
        with self.ledger.lock:
            self.ledger.entries.clear()
            self.ledger.latched.clear()
            self.ledger.limit_told = False
            self.ledger.counts.clear()
        self.refresh()

    def steps_aside(self) -> bool:
        """Whether this call shall be the plain call: switched off, inside a run, or while a graph is recorded."""
        if SWITCH.reasons or (CURRENT.get() is not None and enclosing_run() is not None):
            return True
        if Tracing.compiling is Tracing.first_look:
            Tracing.look()
        return Tracing.capturing()

    def split(self, args: tuple[Any, ...]) -> tuple[Prefix, tuple[Any, ...]]:
        """Take the instance off the arguments of an unbound call, ``C.method(instance, x)``."""
        if self.owner is not None and self.binding == "function" and args and isinstance(args[0], self.owner):
            return args[:1], args[1:]
        return (), args

    def task(
        self,
        prefix: Prefix,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        explicit: bool = False,
        entry: KeyState | None = UNSET,
        **over: Any,
    ) -> Call:
        """Everything that is decided about one call before the first run; the key function is asked once."""
        settings = (block_settings() if CURRENT.get() is not None else {}) | over
        options = self.options.with_settings(settings) if settings else self.options
        if own := {name: over[name] for name in ("accept", "name") if name in over}:
            options = replace(options, **own)
        return Call(
            name=over.get("name") or self.name,
            function=self.function,
            colour=self.colour,
            options=options,
            session=self.session(settings, explicit=explicit),
            inputs=Inputs(self.function, args, kwargs, fresh=options.fresh, bound=prefix),
            ledger=self.ledger,
            entry=self.entry(prefix, args, kwargs) if entry is UNSET else entry,
            listener=settings.get("listener"),
            report_id=settings.get("report_id"),
        )

    def session(self, settings: dict[str, Any], *, explicit: bool) -> Instruments:
        """The session of a call; without blocks around it, always the same one."""
        if not settings and explicit in self.sessions:
            return self.sessions[explicit]
        ranks = self.options.ranks
        session = open_session(settings, monitor=self.options.monitor, ranks=ranks, explicit=explicit)
        if not settings:
            self.sessions[explicit] = session
        return session

    def subject(self) -> TimedFunction:
        """What warm calls outside of any block share; made once."""
        if self._subject is None:
            session = self.session({}, explicit=False)
            self._subject = TimedFunction(self.name, self.function, self.colour, self.options, session, self.ledger)
        return self._subject

    def entry(self, prefix: Prefix, args: tuple[Any, ...], kwargs: dict[str, Any]) -> KeyState | None:
        """The ledger's entry for a call; None where there are too many keys already."""
        make = self.options.key
        key: Hashable = None if make is None else make(*args, **kwargs)
        token = self.ledger.token_of(prefix[0]) if prefix else 0
        try:
            return self.ledger.entry((token, key))
        except TypeError as error:
            raise ArgumentError(
                f"key= of {self.name} returned a {type(key).__name__}, which is not hashable; wanted a hashable key, "
                "such as a tuple of shapes"
            ) from error
