"""
What others took from the calling thread: time spent waiting for a core, involuntary switches, major page faults.

``/proc/thread-self/schedstat`` holds ``ran_ns waited_ns slices`` of the thread that *opens* it; ``/proc/self`` is the
main thread. So each thread keeps a descriptor of its own. The wait can only grow while the thread is off the core, so
the file is read again only when the thread's switches have moved: a run that nobody disturbed costs one ``getrusage``.

These readings stand outside of the clock's: a thread that loses its core in between has waited outside of its run. So
whoever knows the run's wall time bounds the wait by what there was of it (``within``).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from jitwarmup.host.fork_safe import after_fork_in_child
from jitwarmup.host.interrupts import Contained, is_interrupt
from jitwarmup.probes.base import ARMED, usage_reader
from jitwarmup.records.protocols import ArmState
from jitwarmup.records.runs import OneTimeWork

SCHEDSTAT = "/proc/thread-self/schedstat"
MAJOR_FAULTS, VOLUNTARY, INVOLUNTARY = 7, 14, 15  # fields of getrusage's result; by index they cost a third
FAULTS: Final = 4  # field of a Reading

Reading = tuple["_Slot", int | None, int | None, int | None, int, int | None]
"""The thread's slot, its CPU ns, run-queue wait ns, involuntary switches, major faults, the process's CPU ns."""
Taken = tuple[float | None, float | None, int | None, float | None]
"""CPU seconds, run-queue wait seconds, involuntary switches of the calling thread; CPU seconds of the whole process."""


class _Slot:
    """One thread's descriptor and its last reading; it closes when the thread and its readings are gone."""

    __slots__ = ("descriptor", "switches", "waited_ns")

    def __init__(self, path: str) -> None:
        self.descriptor = -1  # first: interrupted from here on, it has none to close
        self.switches = -1
        self.waited_ns: int | None = None
        with Contained():
            self.descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))

    def read(self) -> int | None:
        try:
            ran_ns, waited_ns, *_ = map(int, os.pread(self.descriptor, 64, 0).split())
        except (OSError, ValueError) as error:
            if is_interrupt(error):
                raise
            return None
        return waited_ns if ran_ns > 0 else None  # a thread that reads has run: this kernel does not count

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


class CpuContention:
    """Reads the calling thread; what the system does not tell is None."""

    name = "interference"

    def __init__(self, schedstat: str = SCHEDSTAT) -> None:
        self._path = schedstat
        self._local = threading.local()
        self._usage = usage_reader("RUSAGE_THREAD")
        self._state: ArmState | None = None
        self._clock: Callable[[], int | None] = getattr(time, "thread_time_ns", lambda: None)
        self._process_clock = time.process_time_ns
        after_fork_in_child(self._forget)

    def _forget(self) -> None:
        self._local = threading.local()  # the descriptors are of the parent's threads

    def arm(self) -> ArmState:
        """The self-test, made once: a thread that runs must have run."""
        if self._state is None:
            self._state = ARMED
            if self._usage is None:
                self._state = ArmState("unavailable", "this system has no getrusage of a thread")
            elif _Slot(self._path).read() is None:
                self._state = ArmState("armed", f"no run-queue wait: {self._path} does not tell it")
        return self._state

    def read(self, *, cpu: bool = True) -> Reading:
        """The calling thread now: 0.9 us, 1 us more if it was off its core since the last look."""
        try:
            slot = self._local.slot
        except AttributeError:
            slot = self._local.slot = _Slot(self._path)
        if self._usage is None:
            return slot, self._clock(), None, None, 0, self._process_clock() if cpu else None
        used = self._usage()
        involuntary = used[INVOLUNTARY]
        switches = used[VOLUNTARY] + involuntary
        if switches != slot.switches:
            slot.waited_ns = slot.read()
            slot.switches = switches
        waited_ns, faults = slot.waited_ns, used[MAJOR_FAULTS]
        if not cpu:
            return slot, None, waited_ns, involuntary, faults, None
        return slot, self._clock(), waited_ns, involuntary, faults, self._process_clock()


def taken(before: Reading, after: Reading) -> Taken:
    """What was taken between two looks; all None where the run ended on another thread than it began on."""
    slot, cpu, waited, switches, _, process = before
    slot_then, cpu_then, waited_then, switches_then, _, process_then = after
    if slot is not slot_then:
        return None, None, None, None
    return (
        None if cpu is None or cpu_then is None else (cpu_then - cpu) / 1e9,
        None if waited is None or waited_then is None else (waited_then - waited) / 1e9,
        None if switches is None or switches_then is None else switches_then - switches,
        None if process is None or process_then is None else (process_then - process) / 1e9,
    )


def within(duration_s: float, found: Taken) -> Taken:
    """What was taken of a run of so many wall seconds: a thread cannot have run and waited for longer than the run took."""
    cpu_s, wait_s, switches, process_s = found
    if cpu_s is not None and cpu_s > duration_s:
        # ran outside of the clock, as all other threads may have done; what they did beside it stays as it is
        process_s = None if process_s is None else max(duration_s, process_s - (cpu_s - duration_s))
        cpu_s = duration_s
    if wait_s is not None:
        wait_s = min(wait_s, max(0.0, duration_s - (cpu_s or 0.0)))
    return cpu_s, wait_s, switches, process_s


def page_faults(before: Reading, after: Reading) -> Sequence[OneTimeWork]:
    """Kind ``page_fault.major``: pages the thread had to wait for from a disk; memory pressure, so ``ambient``."""
    count = after[FAULTS] - before[FAULTS] if after[0] is before[0] else 0
    return (OneTimeWork(kind="page_fault.major", count=count, recurrence="ambient"),) if count > 0 else ()
