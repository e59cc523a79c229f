"""Probes: sources of one-time work, one file a source. `Watch` is the facade that the window uses."""

from __future__ import annotations

from collections.abc import Sequence

from jitwarmup.analysis.costs import exclusive_costs
from jitwarmup.probes.compiled_calls import Served
from jitwarmup.probes.probe_set import DEFAULT, Seen, Watch
from jitwarmup.probes.recompile_limit import Usage, recompile_limit, usage
from jitwarmup.records.protocols import Probe

__all__ = ["Seen", "Served", "Usage", "Watch", "exclusive_costs", "recompile_limit", "usage", "watch_of"]

_USUAL = Watch()


def watch_of(probes: Sequence[Probe] | None) -> Watch:
    """The usual watch, which all sessions share, or one that watches with further probes too."""
    return _USUAL if not probes else Watch((*DEFAULT, *probes))
