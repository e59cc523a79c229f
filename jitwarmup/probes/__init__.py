"""Probes: sources of one-time work, one file a source. `ProbeSet` is the facade that the window uses."""

from __future__ import annotations

from collections.abc import Sequence

from jitwarmup.probes.compiled_calls import CompiledCallCounter, asked_for
from jitwarmup.probes.probe_set import DEFAULT, Observation, ProbeSet
from jitwarmup.probes.recompile_limit import Usage, usage
from jitwarmup.records.protocols import Probe

__all__ = [
    "CompiledCallCounter",
    "Observation",
    "ProbeSet",
    "Usage",
    "asked_for",
    "probe_set_of",
    "usage",
]

_USUAL = ProbeSet()


def probe_set_of(probes: Sequence[Probe] | None) -> ProbeSet:
    """The usual watch, which all sessions share, or one that watches with further probes too."""
    return _USUAL if not probes else ProbeSet((*DEFAULT, *probes))
