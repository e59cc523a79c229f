"""
The ports of one measurement, and the only place that chooses default edges.

A session says with what a run is timed (clock, fence), watched (probes), metered (monitor) and told of (emitter).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jitwarmup.edges.clock import SystemClock
from jitwarmup.edges.events import schema
from jitwarmup.edges.events.emit import adapt
from jitwarmup.edges.events.guard import Guarded
from jitwarmup.edges.monitors.counted import Counted
from jitwarmup.edges.probes import Watch, watch_of
from jitwarmup.edges.ranks import ranks_of
from jitwarmup.engine.plan import UNSET
from jitwarmup.engine.switch import SWITCH
from jitwarmup.model.ports import Clock, Emitter, Ranks

PLAIN_CLOCK = SystemClock(every_stream=False)  # other streams are other people's work
FULL_CLOCK = SystemClock(every_stream=True)


@dataclass(frozen=True, slots=True)
class Session:
    """One of each port. ``plain_clock`` times the calls of a service, ``clock`` measurements and blocks."""

    clock: Clock
    plain_clock: Clock
    monitor: Counted | None
    watch: Watch
    emitter: Guarded
    ranks: Ranks | None


def open_session(
    settings: Mapping[str, Any], *, monitor: Any = None, ranks: Any = UNSET, explicit: bool = False
) -> Session:
    """
    The session for a call.

    Args:
        settings: what the blocks around the call set explicitly; they win.
        monitor: the decorator's monitor.
        ranks: the decorator's group, or UNSET.
        explicit: a measurement or block, which agrees with other ranks where torch.distributed is initialised.

    """
    given = settings.get("clock")
    meter = settings.get("monitor", monitor)
    emitter = Guarded(adapt(settings.get("log")))
    return Session(
        clock=given if given is not None else FULL_CLOCK,
        plain_clock=given if given is not None else PLAIN_CLOCK,
        monitor=counted(meter, emitter) if meter is not None else None,
        watch=settings["watch"] if "watch" in settings else watch_of(None),
        emitter=emitter,
        ranks=ranks_of(settings.get("ranks", ranks), unset=UNSET, explicit=explicit),
    )


def counted(monitor: Any, emitter: Emitter) -> Counted:
    """The monitor as everybody shares it; what it cannot read is said, once for each metric and reason."""
    shared = Counted.of(monitor)
    if shared.on_degraded is None:
        kind = type(monitor)
        name = f"{kind.__module__}.{kind.__qualname__}"

        def tell(metric: str, reason: str) -> None:
            if not SWITCH.reasons:
                fields = {"callable": name, "monitor": name, "metric": metric, "reason": reason}
                event = schema.MONITOR_DEGRADED
                emitter.emit(event, schema.LEVELS[event], schema.build(event, fields))

        shared.on_degraded = tell
    return shared
