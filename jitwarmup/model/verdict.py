from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jitwarmup.model.codec import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason(Record):
    kind: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    subject: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Record):
    state: Literal["steady", "unsteady", "contaminated", "degraded", "undecided", "invalid"]
    reasons: tuple[Reason, ...] = ()
    watched: tuple[str, ...] = ()
    unwatched: Mapping[str, str] = field(default_factory=dict)
    label: str | None = None
    tolerance: float | None = None
