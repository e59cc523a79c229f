"""What live calls met: how many found their key warm, and what the others paid."""

from __future__ import annotations

from dataclasses import dataclass

from jitwarmup.records.codec import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed(Record):
    """
    One key that was not warm when live calls came for it.

    ``count`` such calls; ``first_s`` wall seconds of the first one, a warm-up that it made itself included, None where
    it could not run; ``paid_s`` seconds of own one-time work that all of them paid, as far as its sources tell.
    """

    key: str
    count: int
    first_s: float | None = None
    paid_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage(Record):
    """
    The share of live calls whose key was warm when they came. ``.warm`` and ``.measure`` are no live calls.

    Fields:
        callable: module and qualified name of the function.
        calls: number of live calls.
        hits: those of them that found their key warm.
        share: hits / calls; None before the first call.
        missed: the keys of the other calls, the most often missed first.
        other: calls beyond the bound on keys; they are misses too.
        schema: name and version of this form.
    """

    callable: str
    calls: int
    hits: int
    share: float | None
    missed: tuple[Missed, ...] = ()
    other: int = 0
    schema: str = "jitwarmup.coverage/1"
