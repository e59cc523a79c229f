"""
One run and what was seen of it.

A *run* is one execution of the user's function, in one *phase*. Everything here is frozen; units stand in the names;
what is absent is None, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from jitwarmup.records.codec import Record

Outcome = Literal["ok", "error", "cancelled", "closed"]
COMPILING = (
    "dynamo",
    "aot",
    "inductor",
    "triton",
    "autotune",
    "cudagraph",
    "fx",
    "cpp",
)  # kinds begin with one of these
Scope = Literal["own", "foreign", "shared"]
Recurrence = Literal["one_time", "recurring", "ambient"]


class Phase(StrEnum):
    """Why a run is made: to validate, to warm up, or to be measured."""

    VALIDATE = "validate"
    WARM = "warm"
    MEASURE = "measure"


class State(StrEnum):
    """Where a warmed function stands. ``warm`` means counted; ``steady`` means proven, so far, for the inputs seen."""

    COLD = "cold"
    VALIDATING = "validating"
    WARMING = "warming"
    WARM = "warm"
    STEADY = "steady"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class OneTimeWork(Record):
    """
    Work that a run paid for and the next run does not (or, once repetition has shown it, ``recurring`` work).

    Fields:
        kind: dotted, such as ``dynamo.recompile``, ``allocator.grow``, ``import``.
        count: how often it happened in the run.
        duration_s: its wall seconds; None where the source does not know them.
        reason: why, rebuilt from known forms, so that no argument's value is in it; None where it is not known.
        scope: whose work it was: the run's (``own``), another thread's (``foreign``), of all open runs (``shared``: a
            compile in any other thread took the time of all of them).
        recurrence: whether it comes back: ``one_time``, ``recurring``, or ``ambient`` (of the process's surroundings).
        rank: the rank that did it, where several measured in step, else None.
    """

    kind: str
    count: int = 1
    duration_s: float | None = None
    reason: str | None = None
    scope: Scope = "own"
    recurrence: Recurrence = "one_time"
    rank: int | None = None

    @property
    def compiles(self) -> bool:
        """Whether this kind of work makes code: it must not pass for a running cost lightly."""
        return self.kind.split(".", 1)[0].startswith(COMPILING)

    @property
    def charged(self) -> bool:
        """Whether the run bears it: its own work, and a compile anywhere in the process, which took its time as well."""
        return self.scope == "own" or (self.scope == "shared" and self.compiles)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReading(Record):
    """
    What a monitor read over one window; a metric that could not be read is None, with its reason in ``missing``.

    Fields, where a pair is (before, after) the window:
        uuid: the device, as the driver names it; empty where there is none.
        name: its model.
        duration_s: wall seconds of the window.
        status: ``ok``, ``partial``, ``unsupported``, ``gpu_lost``, ``stalled``, ``no_permission`` or ``unavailable``.
        energy_j: joules used within the window.
        energy_source: ``ring`` (the driver's samples), ``counter`` or (of a monitor that samples) ``power_integral``.
        energy_error_j: bound on the error of ``energy_j``, in joules.
        power_mean_w: mean watts.
        power_max_w: the highest watts seen.
        temperature_c: pair of degrees celsius.
        sm_clock_mhz: pair of SM clocks in MHz.
        sm_clock_max_mhz: the highest SM clock of the device in MHz.
        throttled_s: clock limit -> seconds under it.
        reasons_at_edges: the clock limits in force before or after.
        memory_peak_bytes: peak of the memory that torch allocated within the window.
        memory_used_bytes: pair of bytes in use on the device, by all processes.
        sm_active_pct: percent of the time in which SMs were active.
        tensor_active_pct: percent of the time in which tensor cores were active.
        dram_bw_pct: percent of the memory bandwidth that was used.
        other_pids: other processes on the device.
        nvml_calls_in_window: calls to the driver between the clock reads of the run; 0 is the promise.
        samples: how many samples a monitor took itself within the window; `GPUMonitor` takes none.
        missing: metric -> why it could not be read.
        others: readings of further devices in the same window.
    """

    uuid: str = ""
    name: str = ""
    duration_s: float | None = None
    status: str = "ok"
    energy_j: float | None = None
    energy_source: str | None = None
    energy_error_j: float | None = None
    power_mean_w: float | None = None
    power_max_w: float | None = None
    temperature_c: tuple[int | None, int | None] = (None, None)
    sm_clock_mhz: tuple[int | None, int | None] = (None, None)
    sm_clock_max_mhz: int | None = None
    throttled_s: Mapping[str, float] = field(default_factory=dict)
    reasons_at_edges: tuple[str, ...] = ()
    memory_peak_bytes: int | None = None
    memory_used_bytes: tuple[int | None, int | None] = (None, None)
    sm_active_pct: float | None = None
    tensor_active_pct: float | None = None
    dram_bw_pct: float | None = None
    other_pids: tuple[int, ...] = ()
    nvml_calls_in_window: int | None = None
    samples: int | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    others: tuple[DeviceReading, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Record):
    """
    One execution of the user's function, from fence to fence.

    Fields:
        phase: why it was made: ``validate``, ``warm`` or ``measure``.
        index: its number within the phase, from 0.
        started_at: seconds since the epoch.
        duration_ns: nanoseconds of a monotonic clock; of a stream only the time inside its steps.
        outcome: ``ok``, ``error``, ``cancelled`` or ``closed`` (a stream that its consumer left).
        error_type: name of the exception's class, where ``outcome`` is ``error``.
        work: the one-time and recurring work seen during the run.
        contaminated: a measured run that paid for one-time work of its own.
        discarded: measured, then left out, because a re-arm or ``"redo"`` measured again.
        first_item_s: seconds to the first item of a stream.
        item_gaps_s: seconds inside each step after the first item.
        items: number of items that a stream delivered.
        device: the monitor's reading over the run.
        cpu_s: CPU seconds of the calling thread; None where the system does not count them.
        wait_s: seconds that this thread waited in the run queue, ready but without a CPU; likewise. Never more than the
            run's wall seconds less ``cpu_s``.
        switches: involuntary context switches of this thread; likewise.
        process_cpu_s: CPU seconds of all threads of the process during the run; likewise.
        compiled_calls: calls of ``torch.compile``d functions that compiled code served; known only of the audited run,
            the first warm-up run.
        uncompiled_calls: those that it did not serve; likewise.
        rank_durations_ns: nanoseconds of each rank, in the order of ``Report.ranks.members``.

    Where several ranks measured in step, ``duration_ns``, ``switches`` and the CPU and waiting seconds are the slowest
    rank's and ``work`` is that of all ranks; items and the device reading stay this rank's own.
    """

    phase: Phase
    index: int
    started_at: float
    duration_ns: int
    outcome: Outcome = "ok"
    error_type: str | None = None
    work: tuple[OneTimeWork, ...] = ()
    contaminated: bool = False
    discarded: bool = False
    first_item_s: float | None = None
    item_gaps_s: tuple[float, ...] | None = None
    items: int | None = None
    device: DeviceReading | None = None
    cpu_s: float | None = None
    wait_s: float | None = None
    switches: int | None = None
    compiled_calls: int | None = None
    uncompiled_calls: int | None = None
    rank_durations_ns: tuple[int, ...] | None = None
    process_cpu_s: float | None = None

    @property
    def duration_s(self) -> float:
        """Wall seconds of the run."""
        return self.duration_ns / 1e9

    @property
    def host_wait_s(self) -> float | None:
        """
        Seconds that the calling thread waited for a CPU that *others* held; None where the system does not tell.

        The process's other threads may have held it for as long as they ran: so much of the wait is the function's own.
        """
        if self.wait_s is None or not math.isfinite(self.wait_s):
            return None
        cpu_s = self.cpu_s or 0.0
        beside_s = 0.0 if self.process_cpu_s is None else max(0.0, self.process_cpu_s - cpu_s)
        return max(0.0, min(self.wait_s, self.duration_s - cpu_s) - beside_s)

    @property
    def own_time_s(self) -> float | None:
        """Own time, in seconds: the wall time less `host_wait_s`; None where that is not known."""
        wait_s = self.host_wait_s
        return None if wait_s is None else self.duration_s - wait_s

    @property
    def all_cpu_s(self) -> float | None:
        """CPU seconds of the run on all threads of the process, or on its own one where only that is known."""
        return self.cpu_s if self.process_cpu_s is None else self.process_cpu_s

    @property
    def clean(self) -> bool:
        """Whether the run may enter the clean summary: measured, kept, finished, and without one-time work of its own."""
        kept = self.phase is Phase.MEASURE and not self.discarded
        return kept and self.outcome == "ok" and not self.contaminated


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Record):
    """
    A rule's answer to the runs so far. ``state``: ``more`` runs are wanted, steady state is ``proven``, or the allowance
    is ``spent``; ``path`` is what led to it (``quiet``, ``stable``, ``cause``, ``noise_floor``, ``budget``; empty of a
    fixed count), ``numbers`` is name -> number that the answer rests on, units in the names.
    """

    state: Literal["more", "proven", "spent"]
    path: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmup(Record):
    """
    What a warm-up did: its runs (validation first), how long it took, and what decided that it was enough.

    Fields:
        callable: module and qualified name of the function.
        key: the key's label, never an argument's value.
        runs: validation first, then the warm-up runs.
        duration_s: wall seconds of these runs together.
        decision: the rule's last answer.
        ledger: cause -> seconds over the runs.
        skipped: why nothing (more) was run: ``arguments_mutated``, ``arguments_unknown``, ``returned_a_stream``,
            ``interrupt_answered``, ``inactive`` and others; else None.
        argument_class: with ``arguments_unknown``, module and name of the class of which nothing is known.
        rng_restored: whether the process's random streams were rewound for every run and left as one plain call leaves
            them. False in async functions and worker threads by default: there only generators among the arguments are.
        schema: name and version of this form.
    """

    callable: str
    key: str
    runs: tuple[Run, ...] = ()
    duration_s: float = 0.0
    decision: Decision | None = None
    ledger: Mapping[str, float] = field(default_factory=dict)
    skipped: str | None = None
    argument_class: str | None = None
    rng_restored: bool = False
    schema: str = "jitwarmup.warmup/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed(Record):
    """
    One key that was not warm when live calls came for it.

    ``count`` such calls; ``first_s`` wall seconds of the first one, a warm-up that it made itself included, None where
    it could not run; ``paid_s`` seconds of own one-time work that all of them paid, as far as its sources tell.
    """

    key: str
    count: int
    first_s: float | None = None
    paid_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage(Record):
    """
    The share of live calls whose key was warm when they came. ``.warm`` and ``.measure`` are no live calls.

    Fields:
        callable: module and qualified name of the function.
        calls: number of live calls.
        hits: those of them that found their key warm.
        share: hits / calls; None before the first call.
        missed: the keys of the other calls, the most often missed first.
        other: calls beyond the bound on keys; they are misses too.
        schema: name and version of this form.
    """

    callable: str
    calls: int
    hits: int
    share: float | None
    missed: tuple[Missed, ...] = ()
    other: int = 0
    schema: str = "jitwarmup.coverage/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation(Record):
    """
    Many keys warmed up in the order of their weight.

    Fields:
        callable: module and qualified name of the function.
        done: the warm-ups that were made, in order.
        known: labels of keys that were warm already.
        left: labels of keys that the budget did not reach.
        duration_s: seconds of the runs together.
        budget_s: seconds that were allowed; None for no limit.
        schema: name and version of this form.
    """

    callable: str
    done: tuple[Warmup, ...] = ()
    known: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    duration_s: float = 0.0
    budget_s: float | None = None
    schema: str = "jitwarmup.preparation/1"
