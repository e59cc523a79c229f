"""
The arguments of each run: made anew, guarded, and the random streams rewound.

The run whose value is returned gets the caller's own arguments; every other run of a plan gets what ``fresh`` makes, or
the same arguments again, which is why arguments that can be used only once are refused, and why a validation run that
changed an argument, or whose arguments nothing is known of, is the last run that is made.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from typing import Any

from jitwarmup.host.arguments.marks import of_receiver, sizes
from jitwarmup.host.arguments.streamers import is_streamer, silent_streamer
from jitwarmup.host.arguments.survey import Survey, alike
from jitwarmup.host.random_streams import Rewinder
from jitwarmup.records.errors import ArgumentError

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Inputs:
    """
    The arguments of one call, the instance not among them.

    Args:
        args, kwargs: the caller's own.
        fresh: the user's maker of inputs, or None.
        bound: what stands before the arguments in the real call (the instance), for looking up parameter names.

    """

    __slots__ = ("args", "bound", "fresh", "function", "kwargs", "reusable", "rewinder", "seen")

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        fresh: Callable[..., Any] | None = None,
        bound: tuple[Any, ...] = (),
        reusable: Callable[[Any], bool] | None = None,
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.fresh = fresh
        self.bound = bound
        self.reusable = reusable
        self.rewinder: Rewinder | None = None
        self.seen: tuple[Survey, Any] | None = None  # the arguments and the receiver, as they were before the first run

    def examine(self) -> None:
        """
        Look at the arguments before the first run, and refuse those that an extra run would use up.

        Raises:
            ArgumentError: names the class of a value, never the value.

        """
        self.seen = self.look()
        refused = self.seen[0].refused
        if self.fresh is None and refused is not None:
            place, cls, why = refused
            where = f"argument {place!r}" if isinstance(place, str) else f"argument {place + 1}"
            raise ArgumentError(
                f"{where} got {why} ({cls.__name__}); wanted arguments that several runs can share: give fresh=, which "
                f"makes the arguments of every extra run, pass the data itself, or say reusable={cls.__name__} where "
                "several runs do no harm to it"
            )

    def look(self) -> tuple[Survey, Any]:
        """What the arguments look like now, and the object that the function belongs to."""
        streamers = self.streamer_places()
        values = [(place, value) for place, value in self.places() if place not in streamers]
        survey = Survey(values, reusable=self.reusable)
        owner = self.bound[0] if self.bound else getattr(self.function, "__self__", None)
        known = owner is None or (self.reusable is not None and self.reusable(owner))
        return survey, None if known else of_receiver(owner)

    @property
    def unknown(self) -> type[Any] | None:
        """The class of an argument of which nothing is known, so that a second run might do harm; None without one."""
        return None if self.seen is None or self.fresh is not None else self.seen[0].unknown

    @property
    def repeatable(self) -> bool:
        """Whether one run can do no harm to the next: inputs are made anew, or nothing among them can change."""
        if self.fresh is not None or self.seen is None:
            return self.fresh is not None
        survey, owner = self.seen
        holds_nothing = owner is None or alike(owner, sizes({}))
        return survey.unknown is None and not survey.changeable and holds_nothing

    def places(self) -> list[tuple[int | str, Any]]:
        """Each argument with its position or name."""
        return [*enumerate(self.args), *self.kwargs.items()]

    def streamer_places(self) -> set[int | str]:
        """Where streamers stand: by class, or by the parameter's name ``streamer``."""
        found: set[int | str] = {place for place, value in self.places() if is_streamer(value)}
        if "streamer" in self.kwargs:
            found.add("streamer")
        try:
            names = list(inspect.signature(self.function).parameters)[len(self.bound) :]
        except (TypeError, ValueError):
            return found
        if "streamer" in names and names.index("streamer") < len(self.args):
            found.add(names.index("streamer"))
        return {place for place in found if self.at(place) is not None}

    def at(self, place: int | str) -> Any:
        """The argument at a position or name."""
        return self.args[place] if isinstance(place, int) else self.kwargs[place]

    def remember(self, *, process_wide: bool) -> None:
        """Note the random streams before the first run."""
        generators = [] if self.seen is None else self.seen[0].generators
        self.rewinder = Rewinder(generators, process_wide=process_wide)

    def rewind(self) -> None:
        """Put the random streams back to where the call found them."""
        if self.rewinder is not None:
            self.rewinder.rewind()

    def changed(self) -> bool:
        """Whether a run has changed the caller's own arguments in place, or the object that the function belongs to."""
        if self.fresh is not None or self.seen is None:
            return False
        (before, owner), (now, owner_now) = self.seen, self.look()
        return not now.same(before) or not alike(owner, owner_now)

    def own(self) -> Arguments:
        """The caller's own arguments."""
        return (*self.bound, *self.args), self.kwargs

    def extra(self, *, silent: bool) -> Arguments:
        """Arguments of a run whose value nobody receives; its streamers deliver nothing where ``silent``."""
        args, kwargs = (self.args, self.kwargs) if self.fresh is None else made(self.fresh(*self.args, **self.kwargs))
        if not silent:
            return (*self.bound, *args), kwargs
        other = Inputs(self.function, args, kwargs, bound=self.bound)
        bypass = {place: silent_streamer() for place in other.streamer_places()}
        if bypass:
            args = tuple(bypass.get(index, value) for index, value in enumerate(args))
            kwargs = {name: bypass.get(name, value) for name, value in kwargs.items()}
        return (*self.bound, *args), kwargs


def made(result: Any) -> Arguments:
    """What ``fresh`` returned, checked."""
    if isinstance(result, tuple) and len(result) == 2:
        args, kwargs = result
        if isinstance(args, tuple | list) and isinstance(kwargs, Mapping):
            return tuple(args), dict(kwargs)
    raise ArgumentError(
        f"fresh= returned {type(result).__name__}; wanted (args, kwargs): a tuple of the positional arguments and a "
        "dict of the keyword arguments"
    )


def rewinds_process(policy: str | None, *, asynchronous: bool) -> bool:
    """
    Whether the process's random streams may be rewound for a plan.

    They belong to everybody: in an async function or a worker thread others draw from them between our runs, so there
    only generators among the arguments are rewound, unless the user chose ``rng="restore"``.
    """
    if policy is not None:
        return policy == "restore"
    return not asynchronous and threading.current_thread() is threading.main_thread()
