"""What ``warm_all`` did: the keys that are warm now, and those that there was no budget left for."""

from __future__ import annotations

from dataclasses import dataclass

from jitwarmup.records.codec import Record
from jitwarmup.records.runs import Warmup


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation(Record):
    """
    Many keys warmed up in the order of their weight.

    Fields:
        callable: module and qualified name of the function.
        done: the warm-ups that were made, in order.
        known: labels of keys that were warm already.
        left: labels of keys that the budget did not reach.
        duration_s: seconds of the runs together.
        budget_s: seconds that were allowed; None for no limit.
        schema: name and version of this form.
    """

    callable: str
    done: tuple[Warmup, ...] = ()
    known: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    duration_s: float = 0.0
    budget_s: float | None = None
    schema: str = "jitwarmup.preparation/1"
