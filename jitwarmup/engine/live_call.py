"""One live call, from when it comes to when it is over: a hit (its key was warm when it came) or a miss."""

from __future__ import annotations

from jitwarmup.engine.announce import announce_missed
from jitwarmup.engine.commands import Call
from jitwarmup.keys.state import KeyState
from jitwarmup.records.runs import Run, State


class LiveCall:
    """One live call, from when it comes to when it is over; ``runs`` are those it had to make."""

    __slots__ = ("call", "entry", "hit", "reason", "runs")

    def __init__(self, call: Call) -> None:
        entry = call.entry
        self.call = call
        self.entry = entry
        self.hit = entry is not None and entry.is_warm
        self.reason = None if self.hit else why_cold(entry)
        self.runs: list[Run] = []

    def over(self) -> None:
        """Count it; the first miss of a key is announced where keys are warmed by name, not by their first call."""
        call, counts = self.call, self.call.registry.counts
        if call.options.emit == "off":
            return
        if self.hit:
            counts.hit()
            return
        first = counts.miss(None if self.entry is None else self.entry.label, self.runs) == 1
        if first and (call.options.on_new_key == "pass" or was_requested(call)):
            announce_missed(call, self.reason or "")


def was_requested(call: Call) -> bool:
    """Whether ``.warm`` was called for any key of the task's instance."""
    instance_id = None if call.entry is None else call.entry.instance_id
    return any(entry.requested for entry in call.registry.met(instance_id))


def why_cold(entry: KeyState | None) -> str:
    """Why a key is not warm, in fixed words."""
    if entry is None:
        return "more keys than are kept"
    if entry.in_flight is not None:
        return "being warmed up"
    if entry.state is State.FAILED:
        return "its warm-up failed"
    return "asked for and not warmed up yet" if entry.requested else "never warmed up"
