"""
The one table of runs under way in this process, and who hears of what.

    enter ── a RunContext becomes the current one, and its run joins ``live``
      │        push             a hook saw something: *own* for the run it fired in and those around, *foreign* for others
      │        compile_started, compile_ended: the table of compiles that are open
    leave ── the run goes, and what was around it is current again

Every ProbeSet shares this table, since hooks belong to the process and not to whoever armed them. No lock is held while
foreign code runs; hooks append and do nothing else, since they run inside torch's own locks and inside the collector.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from jitwarmup.host.fork_safe import after_fork_in_child, snapshot_of
from jitwarmup.host.scope import CURRENT, RunContext, ancestors
from jitwarmup.records.runs import OneTimeWork, Scope

KEPT_COMPILES = 256
"""How many compiles stay matchable; torch itself keeps 64 records."""


@dataclass(slots=True, eq=False)
class Compile:
    """
    A compile between its start and its end callback. ``ids`` and ``owners`` hold both ends.

    Two compiles that overlap collapse into one pair (torch counts, and tells only the first start and the last end), so
    the two ends may be of different threads.
    """

    trigger: str
    ids: tuple[str, ...]
    owners: tuple[RunContext | None, ...]
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
    ``backstop`` counts only where no record tells of that compile. ``names``: modules, that the probe itself counts.
    """

    source: str
    work: OneTimeWork
    compile: Compile | None = None
    backstop: bool = False
    names: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class RunTable:
    """The process-wide state. Use the module's ``RUNS``; a second one only makes sense in a test."""

    live: dict[int, RunContext] = field(default_factory=dict)
    open: list[Compile] = field(default_factory=list)
    compiles: deque[Compile] = field(default_factory=lambda: deque(maxlen=KEPT_COMPILES))
    overlap_epoch: object = field(default_factory=object)
    held: Counter[int] = field(default_factory=Counter)
    lock: Any = field(default_factory=threading.RLock)
    arming: bool = False  # by whoever holds the lock
    seq: int = 0
    began_in: weakref.WeakKeyDictionary[threading.Thread, weakref.ref[RunContext]] = field(
        default_factory=weakref.WeakKeyDictionary
    )

    def enter(self, context: RunContext) -> None:
        """Make ``context`` current and its run live; whoever is live beside its ancestors overlaps it, and both hear."""
        context.seq = self.seq
        context.overlap_epoch = self.overlap_epoch
        try:
            self.resume(context)
        except BaseException:  # interrupted: nobody would ever leave
            self.leave(context)
            raise

    def resume(self, context: RunContext) -> None:
        """Enter a run, or the next step of one that was suspended."""
        context.enter()
        run = context.first or context
        run.live = True
        live = self.live
        live[id(run)] = run
        if len(live) > 1 and len(live) > sum(other.live for other in ancestors(context)):
            run.overlapped = True
            self.overlap_epoch = object()

    def suspend(self, context: RunContext) -> None:
        """Neither live nor current: what a stream's consumer does between two items is not the stream's."""
        run = context.first or context
        self.live.pop(id(run), None)
        run.live = False
        context.leave()

    def leave(self, context: RunContext) -> None:
        """The run is over; ``overlapped`` is final."""
        self.suspend(context)
        run = context.first or context
        if run.overlap_epoch is not self.overlap_epoch:
            run.overlapped = True

    def thread_begins(self, thread: threading.Thread) -> None:
        """A thread is about to start: what it does is its starter's own, as long as that one runs."""
        if self.live and (context := CURRENT.get()) is not None:
            self.began_in[thread] = weakref.ref(context)

    def owner_here(self) -> RunContext | None:
        """The run that this code is of: by its context, else by who started this thread."""
        context = CURRENT.get()
        thread = vars(threading).get("_active", {}).get(threading.get_ident())  # current_thread() might make one
        starter = None if context is not None or thread is None else self.began_in.get(thread)
        return context if starter is None else starter()

    def push(
        self,
        source: str,
        work: OneTimeWork,
        compiled: Compile | None = None,
        *,
        backstop: bool = False,
        owners: tuple[RunContext | None, ...] | None = None,
        names: tuple[str, ...] = (),
    ) -> None:
        """Tell every live run: it is its own where it happened in the run's context, or in a thread that it started."""
        if not self.live:
            return
        event = HookEvent(source, work, compiled, backstop, names)
        if owners is None:
            owners = (self.owner_here(),) if compiled is None else compiled.owners
        mine = [run for owner in owners for run in ancestors(owner)]
        for run in snapshot_of(self.live.values()):
            run.hook_events.append((event, run in mine))

    def compile_started(self, trigger: str, compile_id: str) -> Compile:
        """A start callback: remember whose it is. Times are for pairing and for the backstop only."""
        compiled = Compile(
            trigger=trigger,
            ids=(compile_id,),
            owners=(self.owner_here(),),
            thread=threading.get_ident(),
            # A thread Python did not start (autograd's device threads) has no context: its owner cannot be known.
            native=threading.current_thread().name.startswith("Dummy-"),
            started_us=time.time_ns() // 1000,
            started_ns=time.perf_counter_ns(),
        )
        self.open.append(compiled)
        self.compiles.append(compiled)
        return compiled

    def compile_ended(self, compile_id: str) -> Compile | None:
        """An end callback: pairs by counting, never by id (see ``Compile``). None if no start was seen."""
        if not self.open:
            return None
        compiled = self.open.pop()
        compiled.duration_ns = time.perf_counter_ns() - compiled.started_ns
        compiled.ids += (compile_id,)
        compiled.owners += (self.owner_here(),)
        compiled.ended = self.seq = self.seq + 1
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
        self.arming = False
        self.began_in.clear()


def relation(run: RunContext, owner: RunContext | None) -> Scope:
    """Whose a compile is, seen from ``run``: its own, or that of all runs that were open, since it took their time."""
    return "own" if run in ancestors(owner) else "shared"


RUNS = RunTable()

after_fork_in_child(RUNS.after_fork)
