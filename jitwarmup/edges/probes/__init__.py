"""Probes: sources of one-time work, one file a source. `Watch` is the facade that the window uses."""

from __future__ import annotations

from collections.abc import Sequence

from jitwarmup.edges.probes.budget import Usage, recompile_limit, usage
from jitwarmup.edges.probes.costs import exclusive_costs
from jitwarmup.edges.probes.served import Served
from jitwarmup.edges.probes.watch import DEFAULT, Seen, Watch
from jitwarmup.model.ports import Probe

__all__ = ["Seen", "Served", "Usage", "Watch", "exclusive_costs", "recompile_limit", "usage", "watch_of"]

_USUAL = Watch()


def watch_of(probes: Sequence[Probe] | None) -> Watch:
    """The usual watch, which all sessions share, or one that watches with further probes too."""
    return _USUAL if not probes else Watch((*DEFAULT, *probes))
