"""What ``warm_all`` did: the keys that are warm now, and those that there was no budget left for."""

from __future__ import annotations

from dataclasses import dataclass

from jitwarmup.records.codec import Record
from jitwarmup.records.runs import Warmup


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation(Record):
    """
    Many keys warmed up in the order of their weight.

    ``done`` holds the warm-ups that were made, in order; ``known`` the labels of keys that were warm already; ``left``
    those that the budget did not reach. ``duration_s`` is seconds of the runs together.
    """

    callable: str
    done: tuple[Warmup, ...] = ()
    known: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    duration_s: float = 0.0
    budget_s: float | None = None
    schema: str = "jitwarmup.preparation/1"
