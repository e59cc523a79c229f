"""What all calls of one warmed function share: the checked options, the function, and the registry of its keys."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

from jitwarmup.engine.callables import CallableKind, innermost, kind_of, name_of, runs_later, wrapper_attributes
from jitwarmup.engine.commands import Call, TimedFunction, planned
from jitwarmup.engine.inputs import Inputs
from jitwarmup.engine.instruments import Instruments, open_instruments
from jitwarmup.engine.options import UNSET, BlockSettings, Options, enclosing_settings
from jitwarmup.host.fork_safe import snapshot_of
from jitwarmup.host.scope import CURRENT, enclosing_run
from jitwarmup.host.switch import SWITCH
from jitwarmup.host.tracing import Tracing
from jitwarmup.keys.at_exit import LEAVING
from jitwarmup.keys.registry import KeyRegistry, first_runs_of
from jitwarmup.keys.shapes import declared_names
from jitwarmup.keys.state import KeyState
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


def check_dry_run(dry_run: Any, kind: CallableKind) -> None:
    """Refuse a stand-in that cannot be run as the function is."""
    if dry_run is not None and kind_of(dry_run) is not kind:
        raise ArgumentError(
            f"dry_run got a function declared with '{kind_of(dry_run).value}'; wanted '{kind.value}', as the "
            "decorated one is: it is run in its place"
        )


class WarmedFunction:
    """One decorated function; ``raw`` is what was decorated, descriptors included."""

    def __init__(self, raw: Any, options: Options) -> None:
        self.raw = raw
        self.binding, self.function = binding_of(raw)
        self.options = options
        self.name = options.name or name_of(self.function)
        self.kind = kind_of(raw)
        found = wrapper_attributes(self.function)
        self.function_name = found["__name__"], found["__qualname__"]
        self.lazy = runs_later(self.function)
        check_dry_run(options.dry_run, self.kind)
        self.owner: type[Any] | None = None
        self.bypass = False
        self.bypass_instances: dict[int, weakref.ref[Any]] = {}  # by identity, which may be used again
        self.instruments_of: dict[bool, Instruments] = {}
        self.shared: TimedFunction | None = None
        self.registry = KeyRegistry(self.name, planned(options), declared_names(self.function))
        self.registry.refresh = self.refresh
        self.registry.first_runs = first_runs_of(self.function)
        if options.emit == "summary":
            LEAVING.arm()  # now, since calls may come in threads only, and those can set no signal handler

    def refresh(self) -> None:
        """With ``emit="off"`` warm calls go straight to the function; note for whom that holds now."""
        if self.options.emit != "off" or self.options.key is not None:
            return
        warm = {key[0] for key, entry in snapshot_of(self.registry.entries.items()) if entry.is_warm}
        self.bypass = 0 in warm
        watches = ((instance_id, self.registry.watching.get(instance_id)) for instance_id in warm)
        self.bypass_instances = {instance_id: watch for instance_id, watch in watches if watch is not None}

    def reset(self) -> None:
        """Forget what is warm: the next call of every key is a first call."""
        with self.registry.lock:
            self.registry.entries.clear()
            self.registry.keys_of.clear()
            self.registry.latched.clear()
            self.registry.limit_announced = False
            self.registry.given_up = None
            self.registry.counts.clear()
        self.registry.changed()

    def passes_through(self) -> bool:
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

    def call(
        self,
        prefix: Prefix,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        explicit: bool = False,
        entry: KeyState | None = UNSET,
        settings: BlockSettings | None = None,
    ) -> Call:
        """Everything that is decided about one call before the first run; the key function is asked once."""
        around = enclosing_settings() if CURRENT.get() is not None else None
        block = around if settings is None else settings.over(around)
        options = self.options if block is None else self.options.inside(block)
        if settings is not None:
            own = {name: value for name, value in settings.given().items() if name in ("accept", "name")}
            options = replace(options, **own) if own else options
        return Call(
            name=options.name or self.name,
            function=self.function,
            kind=self.kind,
            options=options,
            instruments=self.instruments(block, explicit=explicit),
            inputs=Inputs(self.function, args, kwargs, fresh=options.fresh, bound=prefix, reusable=options.reusable),
            registry=self.registry,
            entry=self.entry(prefix, args, kwargs) if entry is UNSET else entry,
            listener=None if block is None else block.get("listener"),
            report_id=None if block is None else block.get("report_id"),
        )

    def instruments(self, block: BlockSettings | None, *, explicit: bool) -> Instruments:
        """The instruments of a call; without blocks around it, always the same one."""
        if block is None and explicit in self.instruments_of:
            return self.instruments_of[explicit]
        ranks = self.options.ranks
        instruments = open_instruments(block, monitor=self.options.monitor, ranks=ranks, explicit=explicit)
        if block is None:
            self.instruments_of[explicit] = instruments
        return instruments

    def timed_function(self) -> TimedFunction:
        """What warm calls outside of any block share; made once."""
        if self.shared is None:
            instruments = self.instruments(None, explicit=False)
            self.shared = TimedFunction(
                name=self.name,
                function=self.function,
                kind=self.kind,
                options=self.options,
                instruments=instruments,
                registry=self.registry,
            )
        return self.shared

    def entry(self, prefix: Prefix, args: tuple[Any, ...], kwargs: dict[str, Any]) -> KeyState | None:
        """The state of a call's key; None where there are too many keys already."""
        make = self.options.key
        key: Hashable = None if make is None else make(*args, **kwargs)
        instance_id = self.registry.instance_id_of(prefix[0]) if prefix else 0
        try:
            found = self.registry.entries.get((instance_id, key))
            return found if found is not None else self.registry.entry((instance_id, key))
        except TypeError as error:
            raise ArgumentError(
                f"key= of {self.name} returned a {type(key).__name__}, which is not hashable; wanted a hashable key, "
                "such as a tuple of shapes"
            ) from error
