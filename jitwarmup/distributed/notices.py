"""
The job of several processes, as torch.distributed tells it; torch is looked up, never imported.

And what a broken connection cannot say: who left, who died, who did not come. That is kept in the job's own key-value
store, the one that torch.distributed made at ``init_process_group`` (rank 0's or the launcher's); nothing is asked of it
while all goes well.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from jitwarmup.records.errors import RankFailed


def distributed() -> Any:
    """``torch.distributed`` where it is loaded and initialised, else None."""
    module: Any = getattr(sys.modules.get("torch"), "distributed", None)
    try:
        return module if module is not None and module.is_available() and module.is_initialized() else None
    except (AttributeError, RuntimeError, ValueError):
        return None


def identity() -> dict[str, int]:
    """``rank`` and ``world_size`` for events, where torch.distributed is initialised."""
    module = distributed()
    try:
        return {} if module is None else {"rank": module.get_rank(), "world_size": module.get_world_size()}
    except (AttributeError, RuntimeError, ValueError):
        return {}


def job_store() -> Any:
    """The store of the job. Private in torch under the same name since 1.5."""
    return distributed().distributed_c10d._get_default_store()


class StoreGone(Exception):  # noqa: N818 - internal, as StoreSilent
    """The job's store refused to answer."""


class StoreSilent(StoreGone):
    """It has not answered yet."""


@dataclass(frozen=True, slots=True)
class Departure:
    """Why a set of ranks cannot go on together: some ``left``, ``died`` or were ``late``."""

    kind: Literal["left", "died", "late"]
    ranks: tuple[int, ...]
    reason: str = ""

    def error(self) -> RankFailed:
        """The error that those who are left get."""
        who = named(self.ranks)
        texts = {
            "left": f"{who} left the measurement ({self.reason}); wanted every rank to take part to the end",
            "died": f"{who} {'are' if len(self.ranks) > 1 else 'is'} gone: {self.reason}; start the job again, or measure "
            "each rank by itself with ranks=None",
            "late": f"{who} did not come to the agreement {self.reason}: still in user code, hung, or never called; let "
            "every rank make the same measurement, give it longer with ranks=RankGroup(timeout_s=...), or opt out with "
            "ranks=None",
        }
        return RankFailed(texts[self.kind], self.ranks, left=self.kind == "left")


def named(ranks: Sequence[int]) -> str:
    """Ranks in words, the first few."""
    shown = ", ".join(map(str, ranks[:8]))
    more = f" and {len(ranks) - 8} more" if len(ranks) > 8 else ""
    return f"rank{'' if len(ranks) == 1 else 's'} {shown}{more}" if ranks else "another rank"


def ask(method: str, *args: Any) -> Any:
    """One call to the job's store, for as long as it may take; StoreGone for whatever is raised."""
    try:
        return getattr(job_store(), method)(*args)
    except Exception as error:  # many kinds: it is gone, or was shut down, or this torch keeps it elsewhere
        raise StoreGone(type(error).__name__) from error


class NoticeBoard:
    """Where one generation of an exchange group leaves notes for its members, under keys that begin with ``prefix``."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._end = f"{prefix}/departure"

    def put(self, name: str, rank: int) -> None:
        """Note that a rank is here."""
        ask("set", f"{self.prefix}/{name}/{rank}", b"1")

    def all_put(self, name: str, ranks: Sequence[int]) -> bool:
        """Whether all these ranks noted it; one question."""
        return bool(ask("check", [f"{self.prefix}/{name}/{rank}" for rank in ranks]))

    def missing(self, name: str, ranks: Sequence[int]) -> tuple[int, ...]:
        """Those that did not; one question each."""
        return tuple(rank for rank in ranks if not self.all_put(name, [rank]))

    def departure(self) -> Departure | None:
        """What ended this generation; None while nothing did."""
        if not ask("check", [self._end]):
            return None
        found = json.loads(ask("get", self._end))
        return Departure(found["kind"], tuple(found["ranks"]), found["reason"])

    def post(self, departure: Departure) -> Departure:
        """Note what ended it. The first departure counts, and is returned."""
        ask("compare_set", self._end, "", json.dumps(asdict(departure)))  # only where none is posted
        return self.departure() or departure
