"""
Calls in service: whether they met a warm key, and steady state lost in them.

What one-time work of a call's own does to its key is what the user asked for with ``on_loss``:

    mark     degraded until three clean calls in a row
    unready  and readiness is taken back until the key is warmed again
    raise    and that call raises MeasurementFailed
    rewarm   the next call of the key warms up again

Torch's recompile limit is watched on the way: a warning once most of it is used up, and ``eager_fallback`` for good once
it is hit, since torch reports nothing from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jitwarmup.analysis.audit import never_compiled
from jitwarmup.analysis.recurrence import one_time_of
from jitwarmup.engine import announce
from jitwarmup.engine.commands import Call, TimedFunction
from jitwarmup.keys.state import Demotion, KeyState
from jitwarmup.probes import Usage, asked_for, usage
from jitwarmup.records.errors import MeasurementFailed
from jitwarmup.records.runs import OneTimeWork, Run, State

CLEAN_CALLS = 3  # in a row, after which a key that was marked is warm again
EAGER_FALLBACK = "eager_fallback"
NOT_COMPILED = "not_compiled"
ADVICE = (
    "warm each shape by its own key: key=by_shape, or by_bucket(sizes) or by_tokens(tokenizer, sizes) for padded inputs"
)
NEARLY_SPENT = "recompile limit nearly spent"


def after_call(function: TimedFunction, entry: KeyState, run: Run, *, was_warm: bool) -> MeasurementFailed | None:
    """Note what one call did to its key; the error where ``on_loss="raise"`` wants one."""
    if not run.contaminated:
        recover(function, entry, run)
        return None
    note_limit(function, entry, [run])
    if not was_warm:
        return None
    paid, spent = one_time_of(run), usage([run])
    reason = next((work.reason for work in paid if work.reason), paid[0].kind)
    announce.announce_lost(function, entry, run, paid, reason=reason, spent=spent, advice=advice_on(function, paid))
    demote(function, entry, reason)
    return error_of(function, paid) if function.options.on_loss == "raise" else None


def advice_on(function: TimedFunction, paid: Sequence[OneTimeWork]) -> str | None:
    """Once per function: compiled code recompiles where every call has the same key, so no warm-up covers the next shape."""
    registry = function.registry
    if function.options.key is not None or all(work.kind != "dynamo.recompile" for work in paid):
        return None
    with registry.lock:
        advised, registry.advised = registry.advised, True
    return None if advised else ADVICE


def demote(function: TimedFunction, entry: KeyState, reason: str) -> None:
    """Demote the key as ``on_loss`` asks; a key that somebody is warming already is left to them."""
    policy, registry = function.options.on_loss, function.registry
    given_up = entry.demotion is not None and entry.demotion.reason in (EAGER_FALLBACK, NOT_COMPILED)
    if policy == "unready":
        registry.take_readiness_back(entry, reason)
    with registry.lock:
        if entry.in_flight is not None or not entry.is_warm:
            return
        if policy == "rewarm":
            entry.state, entry.demotion, entry.resumable_runs, entry.reason = State.COLD, None, (), reason
        elif not given_up:
            entry.state, entry.reason = State.DEGRADED, reason
            entry.demotion = Demotion(reason, policy, 0 if policy == "unready" else CLEAN_CALLS)
    registry.changed()


def recover(function: TimedFunction, entry: KeyState, run: Run) -> None:
    """A clean call: enough of them in a row, and the key is warm again, unless it cannot be by itself."""
    with function.registry.lock:
        demotion, before = entry.demotion, entry.state
        if run.outcome != "ok" or demotion is None or not demotion.clean_calls_wanted:
            return
        wanted = demotion.clean_calls_wanted - 1
        entry.demotion = replace(demotion, clean_calls_wanted=wanted) if wanted else None
        if not wanted and entry.state is State.DEGRADED:
            entry.state, entry.reason = State.WARM, None
    if entry.state is not before:
        function.registry.changed()


def after_warmup(function: TimedFunction, entry: KeyState | None, runs: Sequence[Run]) -> None:
    """Look at a warm-up that ended well: did compiled code run, and was what torch allows used up?"""
    if entry is None:
        return
    note_limit(function, entry, runs)
    if never_compiled(runs, asked_for(function.function)) is not None:
        give_up(function, entry, NOT_COMPILED)


def note_limit(function: TimedFunction, entry: KeyState, runs: Sequence[Run]) -> None:
    """Torch's limit belongs to the function, whichever key uses it up; once it is hit, new programs run eagerly, silently."""
    if not any(run.work for run in runs):
        return
    if any(work.kind == "dynamo.eager_fallback" and work.charged for run in runs for work in run.work):
        function.registry.given_up = EAGER_FALLBACK
        give_up(function, entry, EAGER_FALLBACK)
    warn_of_limit(function, entry, usage(runs))


def give_up(function: TimedFunction, entry: KeyState, reason: str) -> None:
    """Compiled code was given up, or never ran, for as long as the process lives."""
    with function.registry.lock:
        if entry.demotion is not None and entry.demotion.reason == EAGER_FALLBACK:
            return
        policy = entry.demotion.policy if entry.demotion is not None else "mark"
        entry.reason, entry.demotion = reason, Demotion(reason, policy)
        if entry.is_warm:
            entry.state = State.DEGRADED
    function.registry.changed()


def warn_of_limit(function: TimedFunction, entry: KeyState, spent: Usage | None) -> None:
    """Once per function, when most of the limit is used up."""
    registry = function.registry
    if spent is None or not spent.near:
        return
    with registry.lock:
        announced, registry.limit_announced = registry.limit_announced, True
    if not announced:
        announce.announce_limit(function, entry, spent, NEARLY_SPENT)


def error_of(function: TimedFunction, paid: Sequence[OneTimeWork]) -> MeasurementFailed:
    """The error of ``on_loss="raise"``."""
    kinds = ", ".join(dict.fromkeys(work.kind for work in paid))
    return MeasurementFailed(
        f"{function.name} was warm and paid for one-time work on this call ({kinds}), and on_loss='raise' was chosen; "
        "warm up with the inputs that are served, or choose 'mark', 'unready' or 'rewarm'"
    )


class LiveCall:
    """One live call, from when it comes to when it is over; ``runs`` are those it had to make."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.hit = call.entry is not None and call.entry.is_warm
        self.reason = why_cold(call.entry)
        self.runs: list[Run] = []

    def over(self) -> None:
        """Count it; the first miss of a key is announced where keys are warmed by name, not by their first call."""
        call, entry, counts = self.call, self.call.entry, self.call.registry.counts
        if call.options.emit == "off":
            return
        if self.hit:
            counts.hit()
            return
        first = counts.miss(None if entry is None else entry.label, self.runs) == 1
        if first and (call.options.on_new_key == "pass" or was_requested(call)):
            announce.announce_missed(call, self.reason)


def was_requested(call: Call) -> bool:
    """Whether ``.warm`` was called for any key of the task's instance."""
    instance_id = None if call.entry is None else call.entry.instance_id
    return any(entry.requested for entry in call.registry.met(instance_id))


def passes(call: Call) -> bool:
    """Whether a plain call of this cold key shall run plainly, since warm-up was asked for by name and not for it."""
    entry, chosen = call.entry, call.options.on_new_key
    if entry is None or entry.is_warm or entry.requested or entry.in_flight is not None or entry.warmup is not None:
        return False
    return chosen != "warm" and (chosen == "pass" or was_requested(call))


def why_cold(entry: KeyState | None) -> str:
    """Why a key is not warm, in fixed words."""
    if entry is None:
        return "more keys than are kept"
    if entry.in_flight is not None:
        return "being warmed up"
    if entry.state is State.FAILED:
        return "its warm-up failed"
    return "asked for and not warmed up yet" if entry.requested else "never warmed up"
