"""
The one table of runs under way in this process, and who hears of what.

    enter ── a Token joins ``live`` and becomes the current one of its context
      │        push             a hook saw something: *own* for the context's chain of tokens, *foreign* for all others
      │        compile_started, compile_ended: the table of compiles that are open
    leave ── the Token goes, the context's former token is current again (by value: no ContextVar token is kept)

Every Watch shares this table, since hooks belong to the process and not to whoever armed them. No lock is held while
foreign code runs; hooks append and do nothing else, since they run inside torch's own locks and inside the collector.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from jitwarmup.host.fork_safe import after_fork_in_child
from jitwarmup.records.runs import OneTimeWork, Scope

KEPT_COMPILES = 256
"""How many compiles stay matchable; torch itself keeps 64 records."""


class Token:
    """
    One run under way. ``parent`` is the run it was opened in, ``former`` what was current before it was (re)entered;
    ``inbox`` collects (notice, own) pairs; ``base`` is what was read before the run.

    Defaults stand in the class: one is made for every timed call, and most of it is never touched.
    """

    parent: Token | None = None
    former: Token | None = None
    base: Any = None
    extra: Any = ()
    crowd: object = None
    overlapped = False
    reading: Any = None
    live = False
    closed = False
    cpu = True
    seq = 0

    def __init__(self) -> None:
        self.inbox: list[tuple[HookEvent, bool]] = []


@dataclass(slots=True, eq=False)
class Compile:
    """
    A compile between its start and its end callback. ``ids`` and ``owners`` hold both ends.

    Two compiles that overlap collapse into one pair (torch counts, and tells only the first start and the last end), so
    the two ends may be of different threads.
    """

    trigger: str
    ids: tuple[str | None, ...]
    owners: tuple[Token | None, ...]
    thread: int
    native: bool
    started_us: int
    started_ns: int
    children_s: float = 0.0
    duration_ns: int | None = None
    ended: int | None = None


@dataclass(frozen=True, slots=True)
class HookEvent:
    """
    What a hook saw. ``source`` is the probe's name; ``compile`` the pair of callbacks it came from, if any; a
    ``backstop`` counts only where no record tells of that compile.
    """

    source: str
    work: OneTimeWork
    compile: Compile | None = None
    backstop: bool = False


CURRENT: ContextVar[Token | None] = ContextVar("jitwarmup_run", default=None)


def chain(token: Token | None) -> list[Token]:
    """The token and those around it, innermost first."""
    found = []
    while token is not None:
        found.append(token)
        token = token.parent
    return found


@dataclass(slots=True, eq=False)
class RunTable:
    """The process-wide state. Use the module's ``RUNS``; a second one only makes sense in a test."""

    live: dict[int, Token] = field(default_factory=dict)
    open: list[Compile] = field(default_factory=list)
    compiles: deque[Compile] = field(default_factory=lambda: deque(maxlen=KEPT_COMPILES))
    crowd: object = field(default_factory=object)
    held: dict[int, int] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock)
    seq: int = 0
    _count: Any = field(default_factory=lambda: itertools.count(1))

    def enter(self, token: Token) -> None:
        """Make ``token`` live and current; whoever is live beside its own chain overlaps it, and is told so."""
        parent = CURRENT.get()
        while parent is not None and parent.closed:
            parent = parent.parent
        token.parent = parent
        token.seq = self.seq
        token.crowd = self.crowd
        try:
            self.resume(token)
        except BaseException:  # interrupted: nobody would ever leave
            self.leave(token)
            raise

    def resume(self, token: Token) -> None:
        """Live and current, in whatever context this is (again, after ``suspend``)."""
        former = CURRENT.get()
        if former is not token:
            token.former = former
            CURRENT.set(token)
        token.live = True
        live = self.live
        live[id(token)] = token
        if len(live) > 1 and len(live) > sum(other.live for other in chain(token)):
            token.overlapped = True
            self.crowd = object()

    def suspend(self, token: Token) -> None:
        """Neither live nor current: what happens now is not this run's (a stream's consumer, say)."""
        self.live.pop(id(token), None)
        token.live = False
        if CURRENT.get() is token:
            CURRENT.set(token.former)
        token.former = None

    def leave(self, token: Token) -> None:
        """The run is over; ``overlapped`` is final."""
        self.suspend(token)
        token.closed = True
        if token.crowd is not self.crowd:
            token.overlapped = True

    def push(self, source: str, work: OneTimeWork, compiled: Compile | None = None, *, backstop: bool = False) -> None:
        """Tell every live run: it is its own where the hook fired in the run's context."""
        if not self.live:
            return
        notice = HookEvent(source, work, compiled, backstop)
        owners = [] if compiled is None else [t for owner in compiled.owners for t in chain(owner)]
        mine = owners or chain(CURRENT.get())
        for token in _values(self.live):
            token.inbox.append((notice, token in mine))

    def compile_started(self, trigger: str, compile_id: str | None) -> Compile:
        """A start callback: remember whose it is. Times are for pairing and for the backstop only."""
        compiled = Compile(
            trigger=trigger,
            ids=(compile_id,),
            owners=(CURRENT.get(),),
            thread=threading.get_ident(),
            native=_native_thread(),
            started_us=time.time_ns() // 1000,
            started_ns=time.perf_counter_ns(),
        )
        self.open.append(compiled)
        self.compiles.append(compiled)
        return compiled

    def compile_ended(self, compile_id: str | None) -> Compile | None:
        """An end callback: pairs by counting, never by id (see ``Compile``). None if no start was seen."""
        if not self.open:
            return None
        compiled = self.open.pop()
        compiled.duration_ns = time.perf_counter_ns() - compiled.started_ns
        compiled.ids += (compile_id,)
        compiled.owners += (CURRENT.get(),)
        compiled.ended = self.seq = next(self._count)
        return compiled

    def forget_stale(self) -> None:
        """
        Drop open compiles that can no longer be: of this very thread (a compile does not return in the middle).

        A start whose end never came (callbacks cleared, another library's callback raised) would otherwise make every
        later run of the process foreign.
        """
        here = threading.get_ident()
        alive = {thread.ident for thread in threading.enumerate()}
        self.open[:] = [c for c in self.open if c.thread != here and (c.native or c.thread in alive)]

    def after_fork(self) -> None:
        """In a forked child nobody else's run is under way."""
        self.live.clear()
        self.open.clear()
        self.lock = threading.RLock()


def _values(live: dict[int, Token]) -> list[Token]:
    for _ in range(8):  # a collection inside list() may let another thread open a run: dict changed size
        try:
            return list(live.values())
        except RuntimeError:
            continue
    return []


def _native_thread() -> bool:
    """A thread Python did not start (autograd's device threads): it has no context, so its owner cannot be known."""
    return threading.current_thread().name.startswith("Dummy-")


def relation(token: Token, compiled: Compile, owner: Token | None) -> Scope:
    """Whose ``compiled`` is, seen from ``token``; a thread that Python did not start cannot be told: ``shared``."""
    if token in chain(owner):
        return "own"
    return "shared" if owner is None and compiled.native else "foreign"


RUNS = RunTable()

after_fork_in_child(RUNS.after_fork)
