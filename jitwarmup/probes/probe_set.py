"""
The facade of all probes: ``open`` before the first clock read of a run, ``close`` after the last one.

    open:  stamps ── moved since the last look? ── full readings (they belong to no run) ── thread's reading ──> user code
    close: thread's reading ── stamps ── moved, or pushed by a hook? ── full readings, differences, whose they are ──> Observation

Between ``open`` and ``close`` nothing is read: hooks that fire append to a list, and only when something happens. The
stamps are what makes a quiet run cheap; each promises that an equal stamp means an equal reading.

A probe may offer more than the Protocol asks: ``stamp()``, a cheap value that moves with its reading; ``follows = True``
where it need only be read when another's stamp has moved; ``attributed(before, after, scope_of, default_scope)``, a ``delta``
that tells whose each piece of work is; ``claimed(before, after, events, default_scope)``, one that makes it of what its
hooks pushed and of what is ``pending()``, too. A probe with none of these is read in full at both edges of every run.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from jitwarmup.host.fork_safe import snapshot_of
from jitwarmup.host.interrupts import Contained, is_interrupt
from jitwarmup.host.scope import RunContext
from jitwarmup.probes import dynamo_records
from jitwarmup.probes.base import LOADING, merged
from jitwarmup.probes.compile_callbacks import unexplained_compile
from jitwarmup.probes.contention import FAULTS, CpuContention, page_faults, taken
from jitwarmup.probes.cuda import Allocator, CudaGraphs
from jitwarmup.probes.dynamo import Dynamo
from jitwarmup.probes.inductor import Inductor
from jitwarmup.probes.process import Children, Collections, Imports, SharedObjects
from jitwarmup.probes.run_table import RUNS, HookEvent, relation
from jitwarmup.probes.transformers import Transformers
from jitwarmup.probes.triton import Triton
from jitwarmup.records.checks import is_number, is_whole
from jitwarmup.records.protocols import ArmState, Probe
from jitwarmup.records.runs import OneTimeWork, Scope


@dataclass(frozen=True, slots=True)
class Observation:
    """
    What was seen of one run. ``work`` merges equal pieces; ``cpu_s``, ``wait_s`` (run-queue) and ``switches``
    (involuntary) are of the calling thread, ``process_cpu_s`` of all threads; None where the system does not tell.
    """

    work: tuple[OneTimeWork, ...] = ()
    cpu_s: float | None = None
    wait_s: float | None = None
    switches: int | None = None
    process_cpu_s: float | None = None


class Base(NamedTuple):
    """Stamps, and the full readings that were made right after them."""

    stamps: list[Any]
    readings: tuple[Any, ...]


DEFAULT: tuple[Probe, ...] = (
    Dynamo(),
    Inductor(),
    CudaGraphs(),
    Allocator(),
    Triton(),
    Transformers(),
    Imports(),
    SharedObjects(),
    Children(),
    Collections(),
)
"""The probes of this process: one set, since a hook is of the process. Making them reads and installs nothing."""

THREAD = CpuContention()
FAILED = object()


class ProbeSet:
    """
    Looks at runs with a set of probes; None means all. Several may be armed at once, in any number of threads.

    Every ``open`` needs its ``close``, also when the run fails: a run that is never closed makes all others ``shared``.
    """

    def __init__(self, probes: Sequence[Probe] | None = None) -> None:
        self._probes = DEFAULT if probes is None else tuple(probes)
        self._names = {probe.name for probe in self._probes}
        self._states: dict[str, ArmState] = {}
        self._broken: dict[str, ArmState] = {}
        self._held: set[int] = set()
        self._base: Base | None = None
        self._loading = False
        self._plan()
        weakref.finalize(self, release, self._probes, self._held).atexit = False  # one that is forgotten holds nothing

    def _plan(self) -> None:
        silent = {name for name, state in self._states.items() if state.state == "unavailable"}
        looking = [probe for probe in self._probes if probe.name not in silent]
        self._stamps: tuple[Callable[[], Any], ...] = tuple(
            p.stamp if p in DEFAULT else partial(checked_stamp, p) for p in looking if hasattr(p, "stamp")
        )
        self._pulled = tuple(p for p in self._probes if hasattr(p, "stamp") or getattr(p, "follows", False))
        self._always = tuple(p for p in self._probes if p not in self._pulled)

    def arm(self) -> None:
        """Arm everything that can be, again where a hook was taken out. Cheap when nothing has changed."""
        with RUNS.lock:
            if RUNS.arming:  # a signal handler came in the middle of it: a second time, and each hook would stand twice
                return
            RUNS.arming = True
            try:
                self._arm_all()
            finally:
                RUNS.arming = False

    def _arm_all(self) -> None:
        for probe in self._probes:
            state = self._ask(probe, "arm")
            self._states[probe.name] = self._broken[probe.name] if state is FAILED else state
            if id(probe) not in self._held:
                self._held.add(id(probe))
                RUNS.held[id(probe)] += 1
        self._states[THREAD.name] = THREAD.arm()
        self._plan()
        self._loading = any(state.reason == LOADING.reason for state in self._states.values())

    def disarm(self) -> None:
        """Let go of every hook that no other ProbeSet holds. May be called twice, and armed again."""
        with RUNS.lock:
            release(self._probes, self._held)
            self._base = None
            self._states.clear()

    def states(self) -> Mapping[str, ArmState]:
        """Each probe's state when it was last asked."""
        return dict(self._states)

    def watched(self) -> tuple[str, ...]:
        """The names of the probes that look."""
        return tuple(name for name, state in self._states.items() if state.state == "armed")

    def unwatched(self) -> Mapping[str, str]:
        """Name -> why that probe does not look; ``not loaded`` where its module was never imported."""
        return {name: state.reason or state.state for name, state in self._states.items() if state.state != "armed"}

    def open(self, context: RunContext | None = None, *, cpu: bool = True) -> RunContext:
        """
        Begin a run, on the thread that calls the user's function, before its clock is read; its context is entered.

        Without ``cpu`` its CPU seconds are not read: two system calls fewer around a call that nobody asks them of.
        """
        if context is None:
            context = RunContext()
        if not cpu:
            context.cpu = False
        base = self._base
        if base is None or self._loading or self._look() != base.stamps:
            base = self._base = self._read()  # what moved between runs belongs to no run
        context.base = base
        if self._always:
            context.extra = tuple(self._ask(probe, "snapshot") for probe in self._always)
        if RUNS.open:
            RUNS.forget_stale()
        context.reading = THREAD.read(cpu=cpu)
        RUNS.enter(context)  # last: an interrupt before or in it leaves nothing behind
        return context

    suspend = staticmethod(RUNS.suspend)  # a stream hands out an item: what its consumer does is not this run's
    resume = staticmethod(RUNS.resume)  # its next step begins, in its ``next_step()`` context

    def close(self, context: RunContext) -> Observation:
        """End the run, after its last clock read; in any thread or task. Closing twice, or unopened, sees nothing."""
        run = context.first or context
        before = run.reading
        if before is None:
            return Observation()
        reading = THREAD.read(cpu=run.cpu)
        RUNS.leave(context)
        if RUNS.open:
            RUNS.forget_stale()
        moved = self._look() != run.base.stamps
        work: Iterable[OneTimeWork] = ()
        if moved or run.hook_events or RUNS.open or self._always:
            work = self._work(run, moved)
        if reading[FAULTS] != before[FAULTS]:
            work = [*work, *page_faults(before, reading)]
        run.reading, run.base, run.extra, run.hook_events = None, None, (), []
        return Observation(merged(work) if work else (), *taken(before, reading))

    def _look(self) -> list[Any]:
        try:
            return list(map(operator.call, self._stamps))
        except BaseException as error:  # a probe of the user's, or a torch that changed under us: find out whose
            if is_interrupt(error):
                raise
            for probe in self._probes:
                if hasattr(probe, "stamp"):
                    self._ask(probe, "stamp")
            self._base = None
            return [stamp() for stamp in self._stamps]

    def _read(self) -> Base:
        """Everything in full. Stamps come first: what moves meanwhile is seen again, never lost."""
        self.arm()
        stamps = self._look()
        return Base(stamps, tuple(self._ask(probe, "snapshot") for probe in self._pulled))

    def _work(self, run: RunContext, moved: bool) -> list[OneTimeWork]:
        scopes = Scopes(run)
        work: list[OneTimeWork] = []
        after = run.base
        if moved:
            after = self._base = self._read()
        for probe, *readings in zip(self._pulled, run.base.readings, after.readings, strict=True):
            if moved or scopes.events_of(probe):
                work += self._differences(probe, readings, scopes)
        for probe, before in zip(self._always, run.extra, strict=False):
            work += self._differences(probe, [before, self._ask(probe, "snapshot")], scopes)
        return [*work, *scopes.pushed(self._names)]

    def _differences(self, probe: Probe, readings: Sequence[Any], scopes: Scopes) -> Sequence[OneTimeWork]:
        if any(reading is FAILED for reading in readings):
            return ()
        if hasattr(probe, "claimed"):
            events = scopes.events_of(probe) + scopes.pending_of(probe)
            found = self._ask(probe, "claimed", *readings, events, scopes.default_scope, each=replace)
        elif hasattr(probe, "attributed"):
            found = self._ask(probe, "attributed", *readings, scopes.of, scopes.default_scope, each=replace)
        else:
            found = self._ask(probe, "delta", *readings, each=partial(replace, scope=scopes.default_scope))
        return () if found is FAILED else found

    def _ask(self, probe: Probe, method: str, *arguments: Any, each: Callable[..., Any] | None = None) -> Any:
        """Call a probe's method; one that raises or returns nonsense is out, with its reason, and nobody else notices."""
        if probe.name in self._broken:
            return FAILED
        try:
            found = getattr(probe, method)(*arguments)
            if method not in WANTED or WANTED[method](found):  # a snapshot is the probe's own affair
                return found if each is None else [each(item) for item in found]
            reason = f"{method} returned {type(found).__name__}"
        except BaseException as error:
            if is_interrupt(error):
                raise
            reason = f"{method} raised {type(error).__name__}"
        self._broken[probe.name] = self._states[probe.name] = ArmState("unavailable", reason)
        self._plan()
        return FAILED


def is_comparable(found: Any) -> bool:
    """Whether a stamp can be compared with another one: it equals itself, as an array or nan does not."""
    return bool(found == found)  # noqa: PLR0124 - that is the question


def is_work(found: Any) -> bool:
    """Whether it is a list of one-time work."""
    return isinstance(found, list | tuple) and all(
        isinstance(work, OneTimeWork)
        and isinstance(work.kind, str)
        and is_whole(work.count, 0)
        and (work.duration_s is None or is_number(work.duration_s))
        and isinstance(work.reason, str | None)
        for work in found
    )


def checked_stamp(probe: Any) -> Any:
    """A stamp that can be compared; of the user's probes, which may give anything."""
    if not is_comparable(stamp := probe.stamp()):
        raise TypeError
    return stamp


WANTED: dict[str, Callable[[Any], bool]] = {
    "arm": lambda found: found.state in ("armed", "dormant", "unavailable") and isinstance(found.reason, str | None),
    "stamp": is_comparable,
    "delta": is_work,
    "claimed": is_work,
    "attributed": is_work,
}


def release(probes: Sequence[Probe], held: set[int]) -> None:
    """Give up one ProbeSet's hold of its probes; what nobody holds any more is disarmed, whatever it does about it."""
    with RUNS.lock:
        for probe in probes:
            if id(probe) not in held:
                continue
            held.discard(id(probe))
            RUNS.held[id(probe)] -= 1
            if RUNS.held[id(probe)] <= 0:
                del RUNS.held[id(probe)]
                with Contained():  # a probe of the user's may fail at this too
                    probe.disarm()


class Scopes:
    """Whose work is, for one run that has just ended."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._matched: set[int] = set()
        others = any(event.compile and not own for event, own in run.hook_events)
        self.default_scope: Scope = "shared" if run.overlapped or others or RUNS.open else "own"

    def events_of(self, probe: Probe) -> list[tuple[HookEvent, bool]]:
        """What a probe's hooks pushed for the probe itself to count, with whether it is the run's own."""
        return [(event, own) for event, own in self._run.hook_events if event.names and event.source == probe.name]

    def pending_of(self, probe: Any) -> list[tuple[HookEvent, bool]]:
        """The same of what has begun and not ended yet."""
        return [(event, relation(self._run, owner) == "own") for event, owner in probe.pending()]

    def of(self, record: dynamo_records.Record) -> Scope | None:
        """
        The scope of a compilation record; None if its compile was over before the run began (torch appends late).

        The callbacks that announced it are found by the compile id and the time: ids start again after a reset. A record
        without any (the recompile limit, or callbacks that a reset took out) is this run's own if that ran alone.
        """
        interval = dynamo_records.interval_us(record)
        name = str(getattr(record, "compile_id", None))
        for compiled in reversed(snapshot_of(RUNS.compiles)):
            if name in compiled.ids and (interval is None or interval[0] <= compiled.started_us <= interval[1]):
                self._matched.add(id(compiled))
                if compiled.ended is not None and compiled.ended <= self._run.seq:
                    return None
                return relation(self._run, compiled.owners[compiled.ids.index(name)])
        return self.default_scope

    def pushed(self, names: set[str]) -> list[OneTimeWork]:
        """What hooks pushed and no record explains, and what another thread is compiling right now."""
        work = []
        for event, own in self._run.hook_events:
            compiled = event.compile
            if event.source in names and not event.names and not (event.backstop and id(compiled) in self._matched):
                scope: Scope = "own" if own else "shared" if event.work.compiles else "foreign"
                work.append(replace(event.work, scope=scope))
        if {"dynamo", "cudagraph"} & names:
            for compiled in list(RUNS.open):
                scope = relation(self._run, compiled.owners[0])
                work.append(replace(unexplained_compile(compiled), scope=scope))
        return work
