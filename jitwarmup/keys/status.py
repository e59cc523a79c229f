"""The status document of a warmed function."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from jitwarmup.host.fork_safe import snapshot_of
from jitwarmup.host.switch import SWITCH
from jitwarmup.keys.registry import REGISTRIES, WORST_FIRST, KeyRegistry
from jitwarmup.keys.state import KeyState
from jitwarmup.records.runs import Phase, State

STATUS_SCHEMA = "jitwarmup.status/1"
KEYS_SHOWN = 64  # a health document is polled every few seconds
PHASES = {State.VALIDATING: Phase.VALIDATE.value, State.WARMING: Phase.WARM.value}
Subjects = list[tuple[KeyRegistry, int | None]]


def status_of(registry: KeyRegistry, instance_id: int | None) -> dict[str, Any]:
    """The status document of one function (of one instance)."""
    entries = registry.requested_or_met(instance_id)
    state = registry.state(instance_id)
    ready = bool(SWITCH.reasons) or registry.ready(instance_id)
    keys: list[dict[str, Any]] = []
    for entry in entries:
        done, of = progress_of(registry, entry)
        key = {"key": entry.label, "state": entry.state.value, "asked": entry.requested}
        keys.append({**key, "done": done, "planned": of, "reason": entry.reason})
    planned = [key["planned"] for key in keys]
    return {
        "schema": STATUS_SCHEMA,
        "callable": registry.name,
        "state": state.value,
        "phase": next((PHASES[entry.state] for entry in entries if entry.state in PHASES), None),
        "ready": ready,
        "progress": {
            "done": sum(key["done"] for key in keys),
            "planned": None if None in planned or not planned else sum(planned),
        },
        "eta_s": eta_s(registry, entries),
        "last_reason": registry.given_up or last_reason(registry.met(instance_id)),
        "keys": keys[:KEYS_SHOWN],
        "keys_cut": max(0, len(keys) - KEYS_SHOWN),
    }


def progress_of(registry: KeyRegistry, entry: KeyState) -> tuple[int, int | None]:
    """Runs made and runs planned of one key's warm-up; planned is None where a rule decides."""
    warmup = entry.warmup
    if entry.is_warm and warmup is not None:
        return len(warmup.runs), len(warmup.runs)
    return len(entry.resumable_runs), entry.planned if entry.planned is not None else registry.planned


def eta_s(registry: KeyRegistry, entries: Sequence[KeyState]) -> float | None:
    """
    Seconds until all keys are warm, from what was seen so far: 0.0 when they are, None where nothing is known yet.

    A key under way is estimated from its last run, one that has not begun from the mean of those that are done.
    """
    known = [entry.warmup.duration_s for entry in entries if entry.is_warm and entry.warmup is not None]
    typical = statistics.fmean(known) if known else None
    parts = [remaining_s(registry, entry, typical) for entry in entries if not entry.is_warm]
    return math.fsum(filter(None, parts)) if entries and None not in parts else None


def remaining_s(registry: KeyRegistry, entry: KeyState, typical: float | None) -> float | None:
    """Seconds that one key still needs; None where nobody can know."""
    done, planned = progress_of(registry, entry)
    runs = entry.resumable_runs
    if len(runs) > 1 and planned is not None:
        return max(0, planned - done) * runs[-1].duration_s
    spent = math.fsum(run.duration_s for run in runs)
    return None if typical is None else max(0.0, typical - spent)


def last_reason(entries: Sequence[KeyState]) -> str | None:
    """Why the key that stands worst stands where it does."""
    reasons = {entry.state: entry.reason for entry in reversed(entries) if entry.reason}
    return next((reasons[state] for state in WORST_FIRST if state in reasons), None)


def requested_registries() -> Subjects:
    """Every function of the process that was asked to warm up."""
    registries = snapshot_of(REGISTRIES)
    return [(one, None) for one in registries if any(entry.requested for entry in one.met(None))]
