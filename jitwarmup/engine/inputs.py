"""
The arguments of each run: made anew, guarded, and the random streams rewound.

The run whose value is returned gets the caller's own arguments; every other run of a plan gets what ``fresh`` makes, or
the same arguments again, which is why arguments that can be used only once are refused, and why a validation run that
changed an argument is the last run that is made.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from typing import Any

from jitwarmup.distributed import identity
from jitwarmup.host import arguments
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

    __slots__ = ("args", "bound", "fresh", "function", "kwargs", "mark", "rewinder", "shared")

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        fresh: Callable[..., Any] | None = None,
        bound: tuple[Any, ...] = (),
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.fresh = fresh
        self.bound = bound
        self.rewinder: Rewinder | None = None
        self.mark: tuple[Any, ...] = ()
        self.shared = False

    def refuse_once_only(self) -> None:
        """
        Refuse arguments that an extra run would use up, before the first run.

        Raises:
            ArgumentError: names the kind of value, never the value.

        """
        if self.fresh is not None:
            return
        streamers = self.streamer_places()
        for place, value in self.places():
            if place in streamers:
                continue
            for leaf in arguments.leaves(value):
                problem = arguments.once_only(leaf)
                if problem is not None:
                    where = f"argument {place!r}" if isinstance(place, str) else f"argument {place + 1}"
                    raise ArgumentError(
                        f"{where} got {problem} ({type(leaf).__name__}); wanted arguments that several runs can "
                        "share: give fresh=, which makes the arguments of every extra run, or pass the data itself"
                    )

    def places(self) -> list[tuple[int | str, Any]]:
        """Each argument with its position or name."""
        return [*enumerate(self.args), *self.kwargs.items()]

    def streamer_places(self) -> set[int | str]:
        """Where streamers stand: by class, or by the parameter's name ``streamer``."""
        found: set[int | str] = {place for place, value in self.places() if arguments.is_streamer(value)}
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
        """Note the random streams and what the arguments look like, before the first run."""
        self.rewinder = Rewinder(arguments.every_leaf(self.args, self.kwargs), process_wide=process_wide)
        self.shared = identity().get("world_size", 1) > 1
        self.mark = self.looks()

    def rewind(self) -> None:
        """Put the random streams back to where the call found them."""
        if self.rewinder is not None:
            self.rewinder.rewind()

    def changed(self) -> bool:
        """Whether a run has changed the caller's own arguments in place."""
        return self.fresh is None and self.mark != self.looks()

    def looks(self) -> tuple[Any, ...]:
        """What the arguments look like now; among several ranks a collective may have changed what they hold."""
        return arguments.fingerprint(self.args, self.kwargs, contents=self.shared)

    def own(self) -> Arguments:
        """The caller's own arguments."""
        return (*self.bound, *self.args), self.kwargs

    def extra(self, *, silent: bool) -> Arguments:
        """Arguments of a run whose value nobody receives; its streamers deliver nothing where ``silent``."""
        args, kwargs = (self.args, self.kwargs) if self.fresh is None else made(self.fresh(*self.args, **self.kwargs))
        if not silent:
            return (*self.bound, *args), kwargs
        other = Inputs(self.function, args, kwargs, bound=self.bound)
        bypass = {place: arguments.silent_streamer() for place in other.streamer_places()}
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
