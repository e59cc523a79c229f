"""
How much of torch's recompile limit a function has used up.

Torch compiles one frame at most ``torch._dynamo.config.recompile_limit`` times (8 by default) and runs it
eagerly from then on, without a word. The attempt is the second number of a compile id (``0/5`` is the sixth program of
frame 0); torch counts per object where a frame closes over several, so this is an upper bound of that limit, and just what
``accumulated_recompile_limit`` counts: the lower of the two is what matters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jitwarmup.probes import dynamo_records
from jitwarmup.probes.base import loaded
from jitwarmup.records.runs import Run

NEAR = 0.75  # share of the limit at which it is time to say so
COMPILED_AGAIN = ("dynamo.recompile", "dynamo.eager_fallback")
_ATTEMPT = re.compile(r"\d+/(\d+)")


@dataclass(frozen=True, slots=True)
class Usage:
    """Programs that one frame has, and how many torch allows."""

    used: int
    limit: int

    @property
    def near(self) -> bool:
        """Whether most of the limit is used up."""
        return self.used >= NEAR * self.limit


def usage(runs: Sequence[Run]) -> Usage | None:
    """What the frames that these runs compiled anew have used up; None where none did, or it cannot be told."""
    paying = [run for run in runs if any(w.charged and w.kind in COMPILED_AGAIN for w in run.work)]
    config = loaded("torch._dynamo.config")
    limits = (getattr(config, f"{kind}recompile_limit", None) for kind in ("", "accumulated_"))
    limit = min(filter(None, limits), default=None)
    utils = dynamo_records.utils()
    if not paying or not limit or not callable(getattr(utils, "get_compilation_metrics", None)):
        return None
    attempts = [
        int(found[1])
        for record in dynamo_records.read(utils)
        if (found := _ATTEMPT.search(str(getattr(record, "compile_id", ""))))
        and not dynamo_records.is_runtime(record)
        and _made_within(record, paying)
    ]
    return Usage(used=min(limit, max(attempts) + 1), limit=limit) if attempts else None


def _made_within(record: Any, runs: Sequence[Run]) -> bool:
    """Whether its compile began inside one of the runs; both are told by the system's clock, to a millisecond."""
    interval = dynamo_records.interval_us(record)
    if interval is None:
        return True
    return any(-1e-3 <= interval[0] / 1e6 - run.started_at <= run.duration_s + 1e-3 for run in runs)
