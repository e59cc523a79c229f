"""
What was asked for, made and checked once: the options of a decorator, and the plan of one measurement.

Bad input gets its error here, before any user code ran.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from jitwarmup.distributed import checked_ranks
from jitwarmup.engine.callables import HOLDERS
from jitwarmup.engine.rules import Fixed
from jitwarmup.events.emit import as_emitter
from jitwarmup.host.scope import settings_around
from jitwarmup.probes import ProbeSet, probe_set_of
from jitwarmup.records.checks import callable_or_none, flag, one_of, seconds, shown, whole
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.protocols import Clock, Probe, Rule
from jitwarmup.records.runs import Run


class Unset:
    """The default of a setting that was not given; what was given explicitly in an inner block wins."""

    def __repr__(self) -> str:
        return "<default>"

    def __reduce__(self) -> str:
        return "UNSET"


UNSET: Final[Any] = Unset()
ON_CONTAMINATION = ("mark", "redo", "raise")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of ``@warmed``, checked. Nothing in it changes."""

    rule: Rule = field(default_factory=lambda: Fixed(5))
    measurements: int = 20
    key: Callable[..., Any] | None = None
    on_new_key: str | None = None
    fresh: Callable[..., Any] | None = None
    accept: Callable[[Any], bool] | None = None
    drain: int | None = None
    idempotent: bool = True
    dry_run: Callable[..., Any] | None = None
    budget_s: float | None = None
    while_warming: str = "wait"
    on_contamination: str = "mark"
    on_loss: str = "mark"
    rng: str | None = None
    monitor: Any = None
    ranks: Any = UNSET
    name: str | None = None
    emit: str = "calls"
    log_messages: bool = False
    reusable: Callable[[Any], bool] | None = None

    @classmethod
    def checked(cls, *, iterations: Any = 5, **options: Any) -> Options:
        """Options from what the user gave; an ArgumentError for what cannot work names got, wanted and the way out."""
        check_names("warmed", options, ("iterations", *(each.name for each in fields(cls) if each.name != "rule")))
        checked = cls(rule=rule_of(iterations), **options)
        whole("measurements", checked.measurements, at_least=1)
        if checked.drain is not None:
            whole("drain", checked.drain, at_least=1)
        for name in ("key", "fresh", "accept", "dry_run"):
            callable_or_none(name, getattr(checked, name))
        one_of("on_new_key", checked.on_new_key, (None, "warm", "pass"))
        one_of("while_warming", checked.while_warming, ("wait", "pass", "raise"))
        one_of("on_contamination", checked.on_contamination, ON_CONTAMINATION)
        one_of("on_loss", checked.on_loss, ("mark", "unready", "raise", "rewarm"))
        one_of("rng", checked.rng, (None, "restore", "leave"))
        one_of("emit", checked.emit, ("calls", "summary", "off"))
        flag("idempotent", checked.idempotent)
        flag("log_messages", checked.log_messages)
        seconds("budget_s", checked.budget_s)
        check_monitor(checked.monitor)
        check_name(checked.name)
        if checked.reusable is not None:
            checked = replace(checked, reusable=reusable_of(checked.reusable))
        if checked.ranks is not UNSET:
            checked = replace(checked, ranks=checked_ranks(checked.ranks))
        if checked.ranks not in (UNSET, None) and checked.on_loss in ("rewarm", "unready"):
            raise ArgumentError(
                f"on_loss={checked.on_loss!r} got ranks= too; wanted one of them: a loss is seen by one rank alone, which "
                "would warm up alone and wait for the others; choose 'mark' or 'raise'"
            )
        if not checked.idempotent and checked.fresh is None and checked.dry_run is None:
            raise ArgumentError(
                "idempotent=False got neither fresh= nor dry_run=; warming up runs the function several times: give "
                "fresh= (inputs that make an extra run harmless) or dry_run= (what is run in its place)"
            )
        return checked

    def inside(self, block: BlockSettings) -> Options:
        """These options with what the blocks around a call set explicitly."""
        names = ("measurements", "monitor", "budget_s", "on_contamination", "log_messages")
        changes = {name: value for name, value in block.given().items() if name in names}
        if block.iterations is not UNSET:
            changes["rule"] = block.iterations
        return replace(self, **changes) if changes else self


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSettings:
    """
    What a block, or one call of ours, sets explicitly; UNSET where an outer block, the decorator or the default holds.

    Names and meanings are those of ``steady_state``. ``report_id`` is the block's own, carried by the events of calls
    inside; ``listener`` gets each run, so that a command of ours can draw between runs.
    """

    iterations: Rule = UNSET
    measurements: int = UNSET
    monitor: Any = UNSET
    probe_set: ProbeSet = UNSET
    log: Any = UNSET
    clock: Clock = UNSET
    ranks: Any = UNSET
    name: str | None = UNSET
    budget_s: float | None = UNSET
    on_contamination: str = UNSET
    accept: Callable[[Any], bool] | None = UNSET
    processes: int = UNSET
    log_messages: bool = UNSET
    report_id: str = UNSET
    listener: Callable[[Run], None] = UNSET

    @classmethod
    def checked(cls, *, iterations: Any = UNSET, probes: Any = UNSET, **settings: Any) -> BlockSettings:
        """Settings from what the user gave; ArgumentError as for the options."""
        if iterations is not UNSET:
            settings["iterations"] = rule_of(iterations)
        if probes is not UNSET:
            settings["probe_set"] = probe_set_of(checked_probes(probes))
        found = cls(**settings)
        for name in ("measurements", "processes"):
            if getattr(found, name) is not UNSET:
                whole(name, getattr(found, name), at_least=1)
        flag("log_messages", found.get("log_messages", False))
        seconds("budget_s", found.get("budget_s"))
        one_of("on_contamination", found.get("on_contamination", "mark"), ON_CONTAMINATION)
        callable_or_none("accept", found.get("accept"))
        check_monitor(found.get("monitor"))
        check_port("clock", found.get("clock"), ("now", "fence"), "an object with now() -> int (ns) and fence()")
        check_name(found.get("name"))
        as_emitter(found.get("log"))
        return found if found.ranks is UNSET else replace(found, ranks=checked_ranks(found.ranks))

    def get(self, name: str, default: Any = None) -> Any:
        """A setting, or the default where it was not given."""
        value = getattr(self, name)
        return default if value is UNSET else value

    def given(self) -> dict[str, Any]:
        """The settings that were given."""
        pairs = ((each.name, getattr(self, each.name)) for each in fields(self))
        return {name: value for name, value in pairs if value is not UNSET}

    def over(self, outer: BlockSettings | None) -> BlockSettings:
        """These settings, and the outer ones where these are not given."""
        return self if outer is None else replace(outer, **self.given())

    def for_calls_inside(self, report_id: str) -> BlockSettings:
        """What holds for calls inside the block: ``accept`` and ``name`` belong to what the block itself measures."""
        return replace(self, accept=UNSET, name=UNSET, report_id=report_id)


def enclosing_settings() -> BlockSettings | None:
    """What the blocks around the calling code set, inner before outer; None outside of any block."""
    found: BlockSettings | None = None
    for settings in settings_around():
        found = settings if found is None else found.over(settings)
    return found


def check_names(function: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse an option that is not there, and offer the one that may be meant."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]!r}?" if near else f"wanted one of {', '.join(known)}"
            raise ArgumentError(f"{function} got an option {name!r}, which it does not have; {meant}")


def rule_of(iterations: Any) -> Rule:
    """A warm-up rule from a count or a rule."""
    if isinstance(iterations, int) and not isinstance(iterations, bool) and iterations >= 0:
        return Fixed(iterations)
    if callable(iterations) and not isinstance(iterations, type):
        rule: Rule = iterations
        return rule
    raise ArgumentError(
        f"iterations got {shown(iterations)}; wanted a whole number of warm-up runs, 0 or more, or a rule such as "
        "until_steady()"
    )


@dataclass(frozen=True, slots=True)
class InstanceOf:
    """The predicate of ``reusable=`` classes."""

    classes: tuple[type[Any], ...]

    def __call__(self, value: Any) -> bool:
        return isinstance(value, self.classes)


def reusable_of(given: Any) -> Callable[[Any], bool]:
    """A predicate from a class, classes, or a predicate."""
    classes = given if isinstance(given, tuple | list) else (given,)
    if classes and all(isinstance(each, type) for each in classes):
        return InstanceOf(tuple(classes))
    if callable(given) and not isinstance(given, type):
        predicate: Callable[[Any], bool] = given
        return predicate
    raise ArgumentError(
        f"reusable got {shown(given)}; wanted a class, a tuple of classes, or a function of a value that says whether "
        "several runs may share it"
    )


def check_name(value: Any) -> None:
    """Refuse a name that is no text."""
    if value is not None and not isinstance(value, str):
        raise ArgumentError(f"name got {shown(value)}; wanted text to show in place of the function's own name")


def check_port(name: str, value: Any, methods: Sequence[str], wanted: str) -> None:
    """Refuse what lacks methods of a port; a class is refused too, since an instance is wanted."""
    missing = [method for method in methods if not callable(getattr(value, method, None))]
    if isinstance(value, type):
        raise ArgumentError(f"{name} got the class {value.__name__}; wanted {wanted}")
    if value is not None and missing:
        raise ArgumentError(f"{name} got a {type(value).__name__} without {', '.join(missing)}; wanted {wanted}")


def check_monitor(monitor: Any) -> None:
    """Refuse what is no monitor."""
    check_port("monitor", monitor, ("pause", "resume", "window"), "an object with pause, resume and window(name)")


def checked_probes(probes: Any) -> tuple[Probe, ...]:
    """Further probes, each with the methods of the port."""
    methods = ("arm", "snapshot", "delta", "disarm")
    wanted = f"a list of objects with {', '.join(methods)}"
    if not isinstance(probes, list | tuple | None):
        raise ArgumentError(f"probes got {shown(probes)}; wanted {wanted}")
    for probe in probes or ():
        check_port("probes", probe, methods, wanted)
    return tuple(probes or ())


def check_function(function: Any, *, descriptors: bool = True) -> None:
    """Refuse what cannot be warmed: what is not callable (nor a descriptor that is once bound), and classes."""
    if inspect.isclass(function):
        raise ArgumentError(
            f"got the class {function.__name__}; wanted a function or another callable: decorate its methods, "
            "or a function that makes the object and uses it"
        )
    bindable = descriptors and isinstance(function, (classmethod, staticmethod, *HOLDERS))
    if not callable(function) and not bindable:
        way_out = ": decorate the function that it calls, below it" if hasattr(type(function), "__get__") else ""
        raise ArgumentError(f"got {shown(function)}; wanted a function or another callable to warm up{way_out}")
