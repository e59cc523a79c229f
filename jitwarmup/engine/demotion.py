"""
Steady state lost in service: what one-time work of a call's own does to its key, and what the user asked for then.

    mark     degraded until three clean calls in a row
    unready  and readiness is taken back until the key is warmed again
    raise    and that call raises MeasurementFailed
    rewarm   the next call of the key warms up again

Torch's recompile limit is watched on the way: a warning once most of it is used up, and ``eager_fallback`` for good once
it is hit, since torch says nothing from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitwarmup.analysis.recurrence import own_one_time
from jitwarmup.engine.commands import TimedFunction, key_of
from jitwarmup.events import schema
from jitwarmup.keys.registry import KeyState
from jitwarmup.probes import Usage, usage
from jitwarmup.records.errors import MeasurementFailed
from jitwarmup.records.runs import OneTimeWork, Run, State

CLEAN_CALLS = 3  # in a row, after which a key that was marked is warm again
EAGER_FALLBACK = "eager_fallback"
NEARLY_SPENT = "recompile limit nearly spent"


def after_call(timed_function: TimedFunction, entry: KeyState, run: Run, *, was_warm: bool) -> MeasurementFailed | None:
    """Settle what one call did to its key; the error where ``on_loss="raise"`` wants one."""
    if not run.contaminated:
        recover(timed_function, entry, run)
        return None
    if not was_warm:
        return None
    paid, spent = own_one_time(run), usage([run])
    announce_loss(timed_function, entry, run, paid, spent)
    mark(timed_function, entry, reason_of(paid))
    note_fallback(timed_function, entry, [run])
    warn_of_limit(timed_function, entry, spent)
    return error_of(timed_function, paid) if timed_function.options.on_loss == "raise" else None


def announce_loss(
    timed_function: TimedFunction, entry: KeyState, run: Run, paid: Sequence[OneTimeWork], spent: Usage | None
) -> None:
    """The event, on the very call."""
    kinds = list(dict.fromkeys(work.kind for work in paid))
    recompiles = sum(work.count for work in paid if work.kind == "dynamo.recompile")
    limits: dict[str, Any] = {} if spent is None else {"used": spent.used, "limit": spent.limit}
    timed_function.emit(
        schema.STEADY_STATE_LOST,
        key=key_of(entry),
        duration_s=run.duration_s,
        work=kinds,
        reason=reason_of(paid),
        recompiles=recompiles,
        **limits,
    )


def reason_of(paid: Sequence[OneTimeWork]) -> str:
    """The first reason that is known, else what kind of work it was."""
    return next((work.reason for work in paid if work.reason), paid[0].kind)


def mark(timed_function: TimedFunction, entry: KeyState, reason: str) -> None:
    """Do to the key what ``on_loss`` says; a key that somebody is warming already is left to them."""
    policy, registry = timed_function.options.on_loss, timed_function.registry
    if policy == "unready":
        registry.take_back(entry)
    with registry.lock:
        if entry.in_flight is not None or not entry.is_warm:
            return
        if policy == "rewarm":
            entry.state, entry.finished, entry.lost = State.COLD, (), 0
        else:
            entry.state, entry.lost = State.DEGRADED, CLEAN_CALLS
        if entry.reason != EAGER_FALLBACK or policy == "rewarm":
            entry.reason = reason
    registry.changed()


def recover(timed_function: TimedFunction, entry: KeyState, run: Run) -> None:
    """A clean call: enough of them in a row, and the key is warm again, unless it cannot be by itself."""
    if run.outcome != "ok":
        return
    with timed_function.registry.lock:
        entry.lost = max(0, entry.lost - 1)
        if entry.lost or entry.state is not State.DEGRADED or entry.unready or entry.reason == EAGER_FALLBACK:
            return
        entry.state, entry.reason = State.WARM, None


def after_warmup(timed_function: TimedFunction, entry: KeyState | None, runs: Sequence[Run]) -> None:
    """Look at a warm-up that ended well: did it use up what torch allows?"""
    if entry is not None and any(run.work for run in runs):
        note_fallback(timed_function, entry, runs)
        warn_of_limit(timed_function, entry, usage(runs))


def note_fallback(timed_function: TimedFunction, entry: KeyState, runs: Sequence[Run]) -> None:
    """Once the limit is hit the function runs eagerly, silently, for as long as the process lives."""
    own = (work for run in runs for work in run.work if work.scope == "own")
    if not any(work.kind == "dynamo.eager_fallback" for work in own):
        return
    with timed_function.registry.lock:
        entry.reason, entry.lost = EAGER_FALLBACK, 0
        if entry.is_warm:
            entry.state = State.DEGRADED


def warn_of_limit(timed_function: TimedFunction, entry: KeyState, spent: Usage | None) -> None:
    """Once per function, when most of the limit is used up."""
    registry = timed_function.registry
    if spent is None or not spent.near:
        return
    with registry.lock:
        told, registry.limit_told = registry.limit_told, True
    if not told:
        fields: dict[str, Any] = {"key": key_of(entry), "used": spent.used, "limit": spent.limit}
        timed_function.emit(schema.STEADY_STATE_LOST, reason=NEARLY_SPENT, **fields)


def error_of(timed_function: TimedFunction, paid: Sequence[OneTimeWork]) -> MeasurementFailed:
    """The error of ``on_loss="raise"``."""
    kinds = ", ".join(dict.fromkeys(work.kind for work in paid))
    return MeasurementFailed(
        f"{timed_function.name} was warm and paid for one-time work on this call ({kinds}), and on_loss='raise' was chosen; "
        "warm up with the inputs that are served, or choose 'mark', 'unready' or 'rewarm'"
    )
