"""
Each second once: what one-time work cost, by cause.

Durations overlap as torch measures them: a frame contains its backend, that contains Inductor, that contains C++ builds
(which run side by side: 77 s of builds inside a 65 s call were seen), kernels, autotuning and collections.

    |<------------------------ frame: dynamo.capture ------------------------>|
    |      |<------------------ inductor.compile ------------------->|        |
    |      |      |<- cpp.compile ->|  |<- autotune ->|              |        |
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from jitwarmup.records.runs import OneTimeWork

WITHIN = "within a compile"
"""The reason of work whose time is part of a frame's time as well."""

FRAMES = frozenset({"dynamo.capture", "dynamo.recompile", "dynamo.failed", "dynamo.eager_fallback", "aot.backward"})
INDUCTOR = "inductor.compile"


def exclusive_costs(work: Sequence[OneTimeWork], wall_s: float) -> dict[str, float]:
    """
    Seconds by kind, nested ones taken from what they are nested in; at most ``wall_s`` in all.

    The seconds of all compile kinds together are the frames' seconds, which is what torch's own records sum to. Only
    work that the run bears is charged; work without a duration is not guessed at.
    """
    own = [item for item in work if item.charged and 0.0 < (item.duration_s or 0.0) < math.inf]
    frames = _by_kind(item for item in own if item.kind in FRAMES)
    nested = _by_kind(item for item in own if item.reason == WITHIN and item.kind != INDUCTOR)
    inductor = sum(item.duration_s or 0.0 for item in own if item.kind == INDUCTOR)
    beside = _by_kind(item for item in own if item.kind not in FRAMES and item.reason != WITHIN)
    costs = _compile_costs(frames, inductor, nested) if frames else _merged({INDUCTOR: inductor}, nested)
    costs = _merged(costs, beside)
    # parts can exceed the wall where two clocks disagree or work ran side by side: all shrink alike then
    total = sum(costs.values())
    return costs if total <= wall_s else _merged(_scaled(costs, max(wall_s, 0.0) / total), {})


def _compile_costs(frames: dict[str, float], inductor: float, nested: dict[str, float]) -> dict[str, float]:
    """The frames' seconds, divided: innermost parts first, then Inductor's remainder, then the frames' own."""
    total = sum(frames.values())
    inside = sum(nested.values())
    parts = _scaled(nested, min(1.0, total / inside)) if inside else {}
    inside = min(inside, total)
    backend = max(min(inductor, total), inside)
    parts = _merged(parts, {INDUCTOR: backend - inside})
    return _merged(parts, _scaled(frames, (total - backend) / total))


def _by_kind(work: Iterable[OneTimeWork]) -> dict[str, float]:
    costs: dict[str, float] = {}
    for item in work:
        costs[item.kind] = costs.get(item.kind, 0.0) + (item.duration_s or 0.0)
    return costs


def _merged(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    sums = {kind: first.get(kind, 0.0) + second.get(kind, 0.0) for kind in {**first, **second}}
    return {kind: spent for kind, spent in sums.items() if spent > 0}


def _scaled(costs: dict[str, float], factor: float) -> dict[str, float]:
    return {kind: spent * factor for kind, spent in costs.items()}
