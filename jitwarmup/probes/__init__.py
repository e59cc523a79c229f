"""Probes: sources of one-time work, one file a source. `ProbeSet` is the facade that the window uses."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

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
    "unseen",
    "usage",
]

_USUAL = ProbeSet()

# One-time work that no probe can see: name -> why.
NO_EVENT = {
    "thread_pool": "its first use makes no event",
    "first_touch": "new memory makes no event, unless its pages come from a disk",
    "native_libraries": "one that native code loads is looked for only where something else moved",
}
NO_EVENT_OF_TORCH = {
    "lazy_parameters": "made in the first call, without an event",
    "torchscript": "profiles and optimises in its first calls, without an event",
}


def unseen(probe_set: ProbeSet) -> Mapping[str, str]:
    """What nobody looks at where the usual probes look, so that "no cause was seen" is not more than that."""
    usual = isinstance(probe_set, ProbeSet) and set(DEFAULT) <= set(probe_set._probes)
    return {} if not usual else NO_EVENT | (NO_EVENT_OF_TORCH if "torch" in sys.modules else {})


def probe_set_of(probes: Sequence[Probe] | None) -> ProbeSet:
    """The usual watch, which all sessions share, or one that watches with further probes too."""
    return _USUAL if not probes else ProbeSet((*DEFAULT, *probes))
