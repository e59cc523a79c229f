"""
The instruments of one measurement, and the only place that chooses their defaults.

With what a run is timed (clock, fence), watched (probes), metered (monitor) and announced (emitter).
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

from jitwarmup.distributed import EVERYBODY, ranks_of
from jitwarmup.engine.options import UNSET, BlockSettings
from jitwarmup.events import schema
from jitwarmup.events.emit import as_emitter
from jitwarmup.events.guard import FAULTS, OutermostEmitter
from jitwarmup.gpu.shared import SharedMonitor
from jitwarmup.host.clock import SystemClock
from jitwarmup.host.switch import SWITCH
from jitwarmup.probes import ProbeSet, probe_set_of
from jitwarmup.records.protocols import Clock, Emitter, Ranks

PLAIN_CLOCK = SystemClock(every_stream=False)  # other streams are other people's work
FULL_CLOCK = SystemClock(every_stream=True)


class UserClock:
    """A clock that was given, as long as it gives whole nanoseconds; the system's goes on from its last good reading."""

    def __init__(self, clock: Clock) -> None:
        self.clock: Clock | None = clock
        self.fence = clock.fence  # what it raises is the run's: work of the user's failed on the device
        self.last_ns, self.read_at = 0, PLAIN_CLOCK.now()

    def now(self) -> int:
        """Monotonic nanoseconds."""
        if self.clock is not None:
            try:
                now_ns = operator.index(self.clock.now())
            except BaseException as fault:  # noqa: BLE001 - raised again where it is an interrupt
                FAULTS.contain(fault, of_port=True)
                self.clock = None
            else:
                self.last_ns, self.read_at = now_ns, PLAIN_CLOCK.now()
                return now_ns
        return self.last_ns + PLAIN_CLOCK.now() - self.read_at


@dataclass(frozen=True, slots=True)
class Instruments:
    """One of each port. ``plain_clock`` times the calls of a service, ``clock`` measurements and blocks."""

    clock: Clock
    plain_clock: Clock
    monitor: SharedMonitor | None
    probe_set: ProbeSet
    emitter: OutermostEmitter
    port: Ranks | None

    def ranks(self) -> Ranks | None:
        """The ranks to agree with now, None for nobody: torch.distributed may come and go while these stay."""
        return ranks_of(self.port)


def open_instruments(
    block: BlockSettings | None, *, monitor: Any = None, ranks: Any = UNSET, explicit: bool = False
) -> Instruments:
    """
    The instruments of a call: what the blocks around it set explicitly goes before the decorator's monitor and ranks.

    ``explicit``: a measurement or block, which agrees with other ranks where torch.distributed is initialised.
    """
    block = BlockSettings() if block is None else block
    given = UserClock(block.clock) if block.get("clock") is not None else None
    meter = block.get("monitor", monitor)
    emitter = OutermostEmitter(as_emitter(block.get("log")))
    return Instruments(
        clock=given if given is not None else FULL_CLOCK,
        plain_clock=given if given is not None else PLAIN_CLOCK,
        monitor=shared_monitor(meter, emitter) if meter is not None else None,
        probe_set=probe_set_of(None) if block.probe_set is UNSET else block.probe_set,
        emitter=emitter,
        port=port_of(block.ranks, ranks, explicit=explicit),
    )


def port_of(block: Any, own: Any, *, explicit: bool) -> Ranks | None:
    """
    The ranks that agree, None for nobody.

    A block's setting goes before the decorator's, except that it makes no plain call communicate: a function that one
    rank alone calls inside of a block would wait for the others for ever.
    """
    if block is not UNSET and (explicit or block is None):
        return block  # type: ignore[no-any-return]  # checked with the settings
    if own is not UNSET:
        return own  # type: ignore[no-any-return]
    return EVERYBODY if explicit else None


def shared_monitor(monitor: Any, emitter: Emitter) -> SharedMonitor:
    """The monitor as everybody shares it; what it cannot read is announced once for each metric and reason."""
    shared = SharedMonitor.of(monitor)
    if shared.on_degraded is None:
        kind = type(monitor)
        name = f"{kind.__module__}.{kind.__qualname__}"

        def announce(metric: str, reason: str) -> None:
            if not SWITCH.reasons:
                fields = {"callable": name, "monitor": name, "metric": metric, "reason": reason}
                event = schema.MONITOR_DEGRADED
                emitter.emit(event, schema.LEVELS[event], schema.build(event, fields))

        shared.on_degraded = announce
    return shared
