"""
Where we are: inside which runs and blocks. One ContextVar holds the innermost `RunContext`; each knows the one around it.

No token of the ContextVar is kept. A context that was left is marked closed and skipped by everybody who still sees it,
so a task, thread or generator that outlives its run is harmless; leaving restores by value, and only where our context is
still the current one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from jitwarmup.records.protocols import Clock, RunAnnotation
from jitwarmup.records.runs import Phase


class RunContext:
    """
    One run (``phase``) or block (``settings``) that user code is inside of, as the engine and the probes know it.

    ``parent`` is what was around it when it was entered. A stream is entered anew for each of its steps, by
    ``next_step()``; the later contexts name the ``first`` one, which stands for the whole run.

    Defaults stand in the class: one is made for every timed call, and most of it is never touched.
    """

    parent: RunContext | None = None
    first: RunContext | None = None
    closed = False
    clock: Clock | None = None  # that times this run or block
    notes: list[RunAnnotation] | None = None
    window: Any = None  # a weak reference to a window of the GPU monitor, where this is one and no run
    diverged: tuple[tuple[int, ...], ...] = ()  # ranks that measured together inside of it and lost each other
    paid_inside: Counter[tuple[str, str]] | None = None  # of a block: work of the runs in it, by identity, recurrence

    # Of the probes, on the first context of a run:
    base: Any = None  # the readings before the run
    extra: Any = ()  # of probes that are read at every edge
    reading: Any = None  # of the calling thread
    cpu = True
    live = False
    seq = 0
    overlap_epoch: object = None
    overlapped = False

    def __init__(self, *, phase: Phase | None = None, settings: Any = None, window: Any = None) -> None:
        self.phase = phase
        self.settings = settings
        if window is not None:
            self.window = window
        self.hook_events: list[Any] = []  # (HookEvent, whether it is this run's own)

    def enter(self) -> None:
        """Make this context the current one; once, since whoever entered one inside of it may outlive it."""
        parent = CURRENT.get()
        self.parent = parent if parent is None or not parent.closed else current()
        CURRENT.set(self)

    def leave(self) -> None:
        """Close this context and show what was current before; left alone where another task or thread asks."""
        self.closed = True
        if CURRENT.get() is self:
            CURRENT.set(self.parent)

    def next_step(self) -> RunContext:
        """The context of a stream's next step, to be entered wherever that step is asked for."""
        step = RunContext(phase=self.phase, settings=self.settings)
        step.first = self.first or self
        step.clock, step.notes = self.clock, self.notes
        return step


CURRENT: ContextVar[RunContext | None] = ContextVar("jitwarmup", default=None)


def current() -> RunContext | None:
    """The innermost open context."""
    context = CURRENT.get()
    while context is not None and context.closed:
        context = context.parent
    return context


def enclosing_run() -> RunContext | None:
    """The innermost open run we are inside of."""
    context = CURRENT.get()
    while context is not None and (context.closed or context.phase is None):
        context = context.parent
    return context


def leave_note(note: RunAnnotation) -> RunContext | None:
    """
    Leave a note with the run or block that the calling code is inside of; it is read when the clock has stopped.

    Returns the context that keeps it, whose ``clock`` times the run; None where nothing is being timed.
    """
    context = current()
    if context is None or context.clock is None:
        return None
    if context.notes is None:
        context.notes = []
    context.notes.append(note)
    return context


def note_paid(paid: Mapping[tuple[str, str], int]) -> None:
    """Let the blocks around know what a run inside of them paid, by (identity, recurrence)."""
    for context in ancestors(CURRENT.get()):
        if context.settings is not None and not context.closed:
            context.paid_inside = context.paid_inside or Counter()
            context.paid_inside.update(paid)


def note_divergence(members: tuple[int, ...]) -> None:
    """Ranks that measured together have lost each other: the blocks around must not wait for them at their end."""
    context = current()
    while context is not None:
        context.diverged = (*context.diverged, members)
        context = context.parent


def is_warming() -> bool:
    """
    Whether the calling code runs in an extra run: validation or warm-up, whose result nobody receives.

    For user code with side effects that belong to real calls only (billing, metrics, a growing conversation).
    """
    context = current()
    while context is not None:
        if not context.closed and context.phase in (Phase.VALIDATE, Phase.WARM):
            return True
        context = context.parent
    return False


def settings_around() -> Iterator[Any]:
    """The settings of the blocks around the calling code, innermost first."""
    context = current()
    while context is not None:
        if not context.closed and context.settings is not None:
            yield context.settings
        context = context.parent


def ancestors(context: RunContext | None) -> list[RunContext]:
    """The run of this context and those around it, innermost first; each by its first context."""
    found = []
    while context is not None:
        found.append(context.first or context)
        context = context.parent
    return found
