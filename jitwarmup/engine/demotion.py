"""
Calls in service: whether they met a warm key, and steady state lost in them.

What one-time work of a call's own does to its key is what the user asked for with ``on_loss``:

    mark     degraded until three clean calls in a row
    unready  and readiness is taken back until the key is warmed again
    raise    and that call raises MeasurementFailed
    rewarm   the next call of the key warms up again

So does drift: clean calls that have become slower for good (`jitwarmup.analysis.drift`). With ``mark`` and ``raise`` the key
stays degraded until the drift is over.

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
from jitwarmup.keys.shapes import UNDER
from jitwarmup.keys.state import UNREAD, Demotion, KeyState
from jitwarmup.probes import Usage, asked_for, usage
from jitwarmup.records.errors import MeasurementFailed
from jitwarmup.records.runs import OneTimeWork, Run, State

CLEAN_CALLS = 3  # in a row, after which a key that was marked is warm again
EAGER_FALLBACK = "eager_fallback"
NOT_COMPILED = "not_compiled"
DRIFT = "drift"
ADVICE = (
    "warm each shape by its own key: key=by_shape, or by_bucket(sizes) or by_tokens(tokenizer, sizes) for padded inputs"
)
NEARLY_SPENT = "recompile limit nearly spent"


def after_call(function: TimedFunction, entry: KeyState, run: Run, *, was_warm: bool) -> MeasurementFailed | None:
    """Note what one call did to its key; the error where ``on_loss="raise"`` wants one."""
    if not run.contaminated:
        recover(function, entry, run)
        if was_warm and run.clean:
            entry.unread.append((run.duration_ns, run.wait_s))
        return look_for_drift(function, entry) if len(entry.unread) >= UNREAD else None
    note_limit(function, entry, [run])
    if not was_warm:
        return None
    paid, spent = one_time_of(run), usage([run])
    reason = next((work.reason for work in paid if work.reason), paid[0].kind)
    announce.announce_lost(function, entry, run, paid, reason=reason, spent=spent, advice=advice_on(function, paid))
    demote(function, entry, reason)
    if function.options.on_loss != "raise":
        return None
    kinds = ", ".join(dict.fromkeys(work.kind for work in paid))
    return error_of(
        function, f"paid for one-time work on this call ({kinds})", "warm up with the inputs that are served"
    )


def advice_on(function: TimedFunction, paid: Sequence[OneTimeWork]) -> str | None:
    """Once per function: compiled code recompiles where every call has the same key, so no warm-up covers the next shape."""
    registry = function.registry
    if function.options.key is not None or all(work.kind != "dynamo.recompile" for work in paid):
        return None
    with registry.lock:
        advised, registry.advised = registry.advised, True
    return None if advised else ADVICE


def look_for_drift(function: TimedFunction, entry: KeyState) -> MeasurementFailed | None:
    """Judge the newest clean calls of a warm key: have they become slower for good, or is that over?"""
    with function.registry.lock:
        calls, entry.unread = entry.unread, []
        waits = [(ns, (wait_s or 0.0) * 1e9) for ns, wait_s in calls]
        moved = entry.drift.observe([(ns - wait if wait < ns else ns) / 1e9 for ns, wait in waits])  # as in `CleanTail`
        ended = entry.demotion if moved is not None and moved.state == "over" else None
        if ended is not None and ended.reason == DRIFT and not entry.unready:
            entry.state, entry.reason, entry.demotion = State.WARM, None, None
    if moved is None:
        return None
    announce.announce_drift(function, entry, moved)
    if moved.state == "over":
        function.registry.changed()
        return None
    demote(function, entry, DRIFT, clean_calls=0)
    if function.options.on_loss != "raise":
        return None
    what = f"its clean calls have become {moved.factor:.2f} times as long for good"
    return error_of(function, what, "look at what it works on and at the host")


def demote(function: TimedFunction, entry: KeyState, reason: str, clean_calls: int = CLEAN_CALLS) -> None:
    """Demote the key as ``on_loss`` asks; a key that somebody is warming already is left to them."""
    policy, registry = function.options.on_loss, function.registry
    lasting = entry.demotion is not None and entry.demotion.reason in (EAGER_FALLBACK, NOT_COMPILED, DRIFT)
    if policy == "unready":
        registry.take_readiness_back(entry, reason)
    with registry.lock:
        if entry.in_flight is not None or not entry.is_warm:
            return
        if policy == "rewarm":
            entry.state, entry.demotion, entry.resumable_runs, entry.reason = State.COLD, None, (), reason
        elif not lasting:
            entry.state, entry.reason = State.DEGRADED, reason
            entry.demotion = Demotion(reason, policy, 0 if policy == "unready" else clean_calls)
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
    refused = any(work.kind.endswith(NOT_COMPILED) and work.charged for run in runs for work in run.work)
    if refused or never_compiled(runs, asked_for(function.function)) is not None:
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


def error_of(function: TimedFunction, what: str, way_out: str) -> MeasurementFailed:
    """The error of ``on_loss="raise"``."""
    return MeasurementFailed(
        f"{function.name} was warm and {what}, and on_loss='raise' was chosen; {way_out}, "
        "or choose 'mark', 'unready' or 'rewarm'"
    )


class LiveCall:
    """One live call, from when it comes to when it is over; ``runs`` are those it had to make."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.hit = call.entry is not None and call.entry.is_warm
        self.runs: list[Run] = []

    def announce_miss(self) -> None:
        """Before it runs and compiles, once for a key; only where keys are warmed by name, not by their first call."""
        call = self.call
        if self.hit or call.options.emit == "off" or not (call.options.on_new_key == "pass" or was_requested(call)):
            return
        if call.registry.counts.first_miss(None if call.entry is None else call.entry.label):
            announce.announce_missed(call, why_cold(call.entry, call.registry.met(None)))

    def over(self) -> None:
        """Count it."""
        call, entry, counts = self.call, self.call.entry, self.call.registry.counts
        if call.options.emit == "off":
            return
        if self.hit:
            counts.hit()
            return
        counts.miss(None if entry is None else entry.label, self.runs)


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


def why_cold(entry: KeyState | None, met: Sequence[KeyState] = ()) -> str:
    """Why a key is not warm, in fixed words; ``met``: the other keys, which may be warm under other modes of torch."""
    if entry is None:
        return "more keys than are kept"
    if entry.in_flight is not None:
        return "being warmed up"
    if entry.state is State.FAILED:
        return "its warm-up failed"
    shapes, _, mode = entry.label.partition(UNDER)
    same = [each for each in met if each.label.partition(UNDER)[0] == shapes and each.instance_id == entry.instance_id]
    if warm := [each.label.partition(UNDER)[2] or "gradients" for each in same if each.is_warm]:
        return f"called under {mode or 'gradients'}, warmed up under {' and '.join(warm)}"
    return "asked for and not warmed up yet" if entry.requested else "never warmed up"
