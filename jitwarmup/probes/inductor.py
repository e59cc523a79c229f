"""
What AOTAutograd and Inductor do once: code generation, cache look-ups, C++ and Triton builds, autotuning.

Read from the records, from ``counters`` and from ``compilation_time_metrics``, the list of
seconds by phase behind ``torch._dynamo.utils.compile_times()``; phases are matched by name, an unknown one is ignored.

On a cache *hit* torch adds the counters that were stored with the graph (``counters["inductor"] += counter_deltas``), so
a warm process shows autotuning that never happened. Autotuning is therefore told by records and phases alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jitwarmup.analysis.costs import WITHIN
from jitwarmup.probes import dynamo_records as records
from jitwarmup.probes.base import ARMED, ReadingProbe, absent, risen
from jitwarmup.probes.dynamo_records import Record, ScopeOf
from jitwarmup.records.protocols import ArmState
from jitwarmup.records.runs import OneTimeWork, Scope

CACHES = {
    ("inductor", "fxgraph_cache_hit"): "inductor.cache_hit",
    ("inductor", "fxgraph_cache_miss"): "inductor.cache_miss",
    ("inductor", "fxgraph_cache_bypass"): "inductor.cache_bypass",
    ("aot_autograd", "autograd_cache_hit"): "aot.cache_hit",
    ("aot_autograd", "autograd_cache_miss"): "aot.cache_miss",
    ("aot_autograd", "autograd_cache_bypass"): "aot.cache_bypass",
}
CPP_BUILD = "compile_file"
TUNING = (
    "_template_autotuning",
    "CachingAutotuner.benchmark_all_configs",
    "CachingAutotuner.coordinate_descent_tuning",
)

Phase = tuple[list[float], tuple[float, ...]]
"""Torch's list (told by identity: a reset makes new ones) and the seconds that were in it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Records, the six cache counters, the phases that are known by name."""

    records: tuple[Record, ...] = ()
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    phases: Mapping[str, Phase] = field(default_factory=dict)


class Inductor(ReadingProbe):
    """
    Kinds: ``inductor.compile``, ``inductor.cache_hit | cache_miss | cache_bypass``, ``aot.cache_hit | cache_miss |
    cache_bypass``, ``cpp.compile``, ``triton.compile``, ``autotune``. What is nested in a compile says so in its reason.
    """

    name = "inductor"
    follows = True  # nothing here moves without a new record, which the dynamo probe's stamp sees
    _utils: Any = None

    def arm(self) -> ArmState:
        """Dormant until ``torch._dynamo`` is loaded."""
        utils, self._utils = records.utils(), None
        if utils is None:
            return absent("torch._dynamo.utils")
        if problem := records.unknown(utils):
            return ArmState("unavailable", problem)
        self._utils = utils
        phases = isinstance(getattr(utils, "compilation_time_metrics", None), dict)
        return ARMED if phases else ArmState("armed", "no phases: compilation_time_metrics is not a dict")

    def snapshot(self) -> Snapshot:
        """Records, counters and known phases of now; empty while dormant."""
        utils = self._utils
        if utils is None:
            return Snapshot()
        phases = getattr(utils, "compilation_time_metrics", None)
        every = list(phases.items()) if isinstance(phases, dict) else []
        return Snapshot(
            records=records.read(utils),
            counts={key: utils.counters.get(key[0], {}).get(key[1], 0) for key in CACHES},
            phases={key: (seen, tuple(seen)) for key, seen in every if key == CPP_BUILD or key.endswith(TUNING)},
        )

    def attributed(
        self, before: Snapshot, after: Snapshot, scope_of: ScopeOf = records.everything_own, otherwise: Scope = "own"
    ) -> list[OneTimeWork]:
        """Seconds from each record with its scope; counters and phases with the records' common scope."""
        new, _ = records.added(before.records, after.records)
        common = records.common_scope(new, scope_of, otherwise)
        phases = {key: _fresh(before.phases.get(key), phase) for key, phase in after.phases.items()}
        nested = WITHIN if any(not records.is_runtime(record) for record in new) else None
        work = [item for record in new if (scope := scope_of(record)) for item in _of_record(record, scope)]
        rises = {key: risen(before.counts.get(key, 0), count) for key, count in after.counts.items()}
        work += [OneTimeWork(kind=CACHES[key], count=n, scope=common) for key, n in rises.items() if n > 0]
        work += _timed("cpp.compile", phases.get(CPP_BUILD, ()), nested, common)
        if not any(item.kind == "autotune" for item in work):
            tuned = [seconds for key, spent in phases.items() if key.endswith(TUNING) for seconds in spent]
            work += _timed("autotune", tuned, nested, common)
        return work

    delta = attributed  # as if one run alone had been under way


def _fresh(before: Phase | None, after: Phase) -> tuple[float, ...]:
    """The seconds that are new; all of them where torch started a new list, or a shorter one."""
    seen, seconds = after
    if before is None or before[0] is not seen or len(before[1]) > len(seconds):
        return seconds
    return seconds[len(before[1]) :]


def _of_record(record: Record, scope: Scope) -> list[OneTimeWork]:
    """Inductor's own seconds, Triton's, and autotuning's, as far as the record tells them."""
    work = []
    if (spent := records.seconds(record, "inductor_cumulative_compile_time_us")) is not None:
        work.append(OneTimeWork(kind="inductor.compile", duration_s=spent, reason=WITHIN, scope=scope))
    kernels = str(getattr(record, "triton_kernel_compile_times_us", None) or "").count("[") - 1
    if kernels > 0:  # the time field alone also counts waiting for C++ builds
        spent = records.seconds(record, "triton_compile_time_us")
        work.append(OneTimeWork(kind="triton.compile", count=kernels, duration_s=spent, reason=WITHIN, scope=scope))
    if tuned := records.seconds(record, "compile_time_autotune_time_us"):
        work.append(OneTimeWork(kind="autotune", duration_s=tuned, reason=WITHIN, scope=scope))
    if tuned := records.seconds(record, "runtime_triton_autotune_time_us"):
        work.append(OneTimeWork(kind="autotune", duration_s=tuned, reason="at run time", scope=scope))
    return work


def _timed(kind: str, seconds: Sequence[float], reason: str | None, scope: Scope) -> list[OneTimeWork]:
    if not seconds:
        return []
    return [OneTimeWork(kind=kind, count=len(seconds), duration_s=sum(seconds), reason=reason, scope=scope)]
