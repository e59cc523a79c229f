"""
Torch's compilation records: ``torch._dynamo.utils._compilation_metrics``, a deque of 64 ``CompilationMetrics``.

Field names were read in torch 2.8 to 2.15 (up to 99 fields); an unknown field is ignored, an absent one is None. The
deque is reached through its module on every reading, since ``set_compilation_metrics_limit`` binds a new one. A record
is appended after the end callback, so it is read at the edge of a run and never inside a callback.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jitwarmup.probes.base import loaded
from jitwarmup.records.runs import Scope

Record = Any
ScopeOf = Callable[[Record], Scope | None]
"""Whose a record is; None where it belongs to an earlier run."""


def everything_own(_record: Record) -> Scope:
    """The scope of a record for those who do not ask whose it is."""
    return "own"


def utils() -> Any:
    """``torch._dynamo.utils`` where it is loaded, else None."""
    return loaded("torch._dynamo.utils")


def unknown(module: Any) -> str | None:
    """The self-test of who reads them: why records and counters are not in the form we know, or None."""
    if not callable(getattr(module, "get_compilation_metrics", None)):
        return "torch._dynamo.utils.get_compilation_metrics is not there"
    if not isinstance(getattr(module, "counters", None), dict):
        return "torch._dynamo.utils.counters is not a dict"
    fields = getattr(getattr(module, "CompilationMetrics", None), "__dataclass_fields__", {})
    missing = {"compile_id", "fail_type", "co_name"} - set(fields)
    return f"CompilationMetrics has no {', '.join(sorted(missing))}" if missing else None


def read(module: Any) -> tuple[Record, ...]:
    """All records torch still has, oldest first."""
    return tuple(module.get_compilation_metrics())


def added(before: Sequence[Record], after: Sequence[Record]) -> tuple[Sequence[Record], bool]:
    """
    The records that are new in ``after``, and whether some may have been pushed out unseen.

    The newest known record is looked for from the end, by identity; if none is left, everything is new, and the deque
    has overflowed, or was cleared.
    """
    known = {id(record) for record in before}
    for index in range(len(after) - 1, -1, -1):
        if id(after[index]) in known:
            return after[index + 1 :], False
    return after, bool(before) and bool(after)


def seconds(record: Record, *names: str) -> float | None:
    """The first of the fields (microseconds) that is there, in seconds."""
    values = (getattr(record, name, None) for name in names)
    return next((value / 1e6 for value in values if isinstance(value, (int, float))), None)


def frame_seconds(record: Record) -> float | None:
    """Wall seconds of the whole frame compile (or backward compile), everything nested included."""
    return seconds(record, "dynamo_cumulative_compile_time_us", "backward_cumulative_compile_time_us", "duration_us")


def is_runtime(record: Record) -> bool:
    """Autotuning or CUDA-graph work at run time, with no compile around it."""
    return bool(getattr(record, "is_runtime", False))


def interval_us(record: Record) -> tuple[int, int] | None:
    """Begin and end, epoch microseconds."""
    begin, end = getattr(record, "start_time_us", None), getattr(record, "end_time_us", None)
    return (begin, end) if isinstance(begin, int) and isinstance(end, int) else None


def common_scope(records: Sequence[Record], scope_of: ScopeOf, otherwise: Scope) -> Scope:
    """The scope that all records share: counters that moved with them are then theirs too."""
    scopes = {scope for scope in map(scope_of, records) if scope is not None}
    return scopes.pop() if len(scopes) == 1 else otherwise
