"""
Where we are: inside which blocks and runs. The ambient state is one ContextVar that holds a linked chain of frames.

No token is kept. A frame that was left is marked closed and skipped by everybody who still sees it, so a task, thread or
generator that outlives its block or run is harmless; leaving restores by value, and only where our frame is still the
current one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from jitwarmup.records.protocols import Clock, RunAnnotation
from jitwarmup.records.runs import Phase


class Frame:
    """One block (``settings``) or one run (``phase``) that user code is inside of."""

    __slots__ = ("clock", "closed", "diverged", "notes", "parent", "phase", "settings")

    def __init__(self, *, phase: Phase | None = None, settings: Any = None) -> None:
        self.parent: Frame | None = None
        self.phase = phase
        self.settings = settings
        self.closed = False
        self.clock: Clock | None = None  # of the window around this run or block
        self.notes: list[RunAnnotation] | None = None
        self.diverged: list[tuple[int, ...]] = []  # ranks that measured together inside of it and lost each other

    def enter(self) -> None:
        """Make this frame the current one; once, since whoever entered a frame of its own inside may outlive it."""
        self.parent = current()
        CURRENT.set(self)

    def leave(self) -> None:
        """Close this frame and show what was current before; left alone where another context asks."""
        self.closed = True
        if CURRENT.get() is self:
            CURRENT.set(self.parent)


CURRENT: ContextVar[Frame | None] = ContextVar("jitwarmup", default=None)


def current() -> Frame | None:
    """The innermost open frame."""
    frame = CURRENT.get()
    while frame is not None and frame.closed:
        frame = frame.parent
    return frame


def enclosing_run() -> Frame | None:
    """The innermost open run we are inside of."""
    frame = current()
    while frame is not None and (frame.closed or frame.phase is None):
        frame = frame.parent
    return frame


def leave_note(note: RunAnnotation) -> Frame | None:
    """
    Leave a note with the run or block that the calling code is inside of; it is read when the clock has stopped.

    Returns:
        The frame that keeps it, whose ``clock`` times the run; None where nothing is being timed.

    """
    frame = current()
    if frame is None or frame.clock is None:
        return None
    if frame.notes is None:
        frame.notes = []
    frame.notes.append(note)
    return frame


def note_divergence(members: tuple[int, ...]) -> None:
    """Ranks that measured together have lost each other: the blocks around must not wait for them at their end."""
    frame = current()
    while frame is not None:
        frame.diverged.append(members)
        frame = frame.parent


def is_warming() -> bool:
    """
    Whether the calling code runs in an extra run: validation or warm-up, whose result nobody receives.

    For user code with side effects that belong to real calls only (billing, metrics, a growing conversation).
    """
    frame = current()
    while frame is not None:
        if not frame.closed and frame.phase in (Phase.VALIDATE, Phase.WARM):
            return True
        frame = frame.parent
    return False


def settings_around() -> Iterator[Any]:
    """The settings of the blocks around the calling code, innermost first."""
    frame = current()
    while frame is not None:
        if not frame.closed and frame.settings is not None:
            yield frame.settings
        frame = frame.parent
