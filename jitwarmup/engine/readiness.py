"""
Is it ready? For health probes: cheap, never waiting for a warm-up, and honest about what was never asked for.

``readiness()`` speaks of every function that ``.warm``, ``.warm_all``, ``.awarm`` or a lifespan was asked to warm. It
latches as each function's own readiness does: only ``on_loss="unready"`` takes it back. Where torch.distributed is
initialised it is true only when all ranks are; they tell each other through the job's store, and nobody waits.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jitwarmup.edges.ranks import EVERYBODY, HERALD, checked_ranks, identity, ranks_of
from jitwarmup.engine.ledger import LEDGERS, WORST_FIRST, Entry, Ledger
from jitwarmup.engine.switch import SWITCH
from jitwarmup.model.errors import ArgumentError
from jitwarmup.model.ports import Ranks
from jitwarmup.model.runs import Phase, State

if TYPE_CHECKING:
    from jitwarmup.engine.decorate import Warmed

STATUS_SCHEMA = "jitwarmup.status/1"
READINESS_SCHEMA = "jitwarmup.readiness/1"
KEYS_SHOWN = 64  # a health document is polled every few seconds
PHASES = {State.VALIDATING: Phase.VALIDATE.value, State.WARMING: Phase.WARM.value}
Subjects = list[tuple[Ledger, int | None]]


def status_of(ledger: Ledger, token: int | None) -> dict[str, Any]:
    """The status document of one function (of one instance)."""
    entries = ledger.asked_or_met(token)
    state = ledger.state(token)
    ready = bool(SWITCH.reasons) or ledger.ready(token)
    done, planned = zip(*(progress_of(ledger, entry) for entry in entries), strict=True) if entries else ((), ())
    return {
        "schema": STATUS_SCHEMA,
        "callable": ledger.name,
        "state": state.value,
        "phase": next((PHASES[entry.state] for entry in entries if entry.state in PHASES), None),
        "ready": ready,
        "progress": {"done": sum(done), "planned": None if None in planned or not planned else sum(planned)},
        "eta_s": eta_s(ledger, entries),
        "last_reason": last_reason(ledger.met(token)),
        "keys": [key_status(ledger, entry) for entry in entries[:KEYS_SHOWN]],
        "keys_cut": max(0, len(entries) - KEYS_SHOWN),
    }


def key_status(ledger: Ledger, entry: Entry) -> dict[str, Any]:
    """One key in the document."""
    done, planned = progress_of(ledger, entry)
    return {
        "key": entry.label,
        "state": entry.state.value,
        "asked": entry.asked,
        "done": done,
        "planned": planned,
        "reason": entry.reason,
    }


def progress_of(ledger: Ledger, entry: Entry) -> tuple[int, int | None]:
    """Runs made and runs planned of one key's warm-up; planned is None where a rule decides."""
    warmup = entry.warmup
    if entry.is_warm and warmup is not None:
        return len(warmup.runs), len(warmup.runs)
    return len(entry.finished), entry.planned if entry.planned is not None else ledger.planned


def eta_s(ledger: Ledger, entries: Sequence[Entry]) -> float | None:
    """
    Seconds until all keys are warm, from what was seen so far: 0.0 when they are, None where nothing is known yet.

    A key under way is told from its last run, one that has not begun from the mean of those that are done.
    """
    known = [entry.warmup.duration_s for entry in entries if entry.is_warm and entry.warmup is not None]
    typical = statistics.fmean(known) if known else None
    parts = [remaining_s(ledger, entry, typical) for entry in entries if not entry.is_warm]
    if not entries or any(part is None for part in parts):
        return None
    return math.fsum(part for part in parts if part is not None)


def remaining_s(ledger: Ledger, entry: Entry, typical: float | None) -> float | None:
    """Seconds that one key still needs; None where nobody can know."""
    done, planned = progress_of(ledger, entry)
    runs = entry.finished
    if len(runs) > 1 and planned is not None:
        return max(0, planned - done) * runs[-1].duration_s
    spent = math.fsum(run.duration_s for run in runs)
    return None if typical is None else max(0.0, typical - spent)


def last_reason(entries: Sequence[Entry]) -> str | None:
    """Why the key that stands worst stands where it does."""
    told = sorted((WORST_FIRST.index(entry.state), at) for at, entry in enumerate(entries) if entry.reason)
    return entries[told[0][1]].reason if told else None


def asked_ledgers() -> Subjects:
    """Every function of the process that was asked to warm up."""
    for _ in range(8):
        try:
            return [(ledger, None) for ledger in list(LEDGERS) if any(entry.asked for entry in ledger.met(None))]
        except RuntimeError:  # another thread decorated a function meanwhile
            continue
    return []


def is_rank_ready() -> bool:
    """Whether all that this process was asked to warm up (or, where nothing was, all that it met) is warm."""
    subjects = asked_ledgers() or [(ledger, None) for ledger in list(LEDGERS) if ledger.met(None)]
    return bool(subjects) and all(ledger.warm_now(token) for ledger, token in subjects)


def tell_other_ranks() -> None:
    """Something became warm, or is not to be relied upon any more: the other ranks may want to know."""
    if identity().get("world_size", 1) > 1:
        HERALD.tell(ready=is_rank_ready())


class Readiness:
    """
    Whether functions are ready; true in a boolean context when all are. With none asked to warm it is not ready.

    Once it has been ready, functions that are asked later do not count: it latches. Of a job of several ranks it is ready
    when these functions are here, and on every other rank all that was asked there.
    """

    def __init__(self, functions: Sequence[Warmed[Any, Any]] = (), ranks: Ranks | None = EVERYBODY) -> None:
        self._given: Subjects = [(function._core.ledger, function._token) for function in functions]
        self._latched: Subjects = []
        self._ranks = ranks

    @property
    def ready(self) -> bool:
        """Whether everything that was asked to warm is warm, on all ranks; latches."""
        if SWITCH.reasons:
            return True
        subjects = self._latched or self._given or asked_ledgers()
        ready = bool(subjects) and all(ledger.ready(token) for ledger, token in subjects)
        if ready:
            self._latched = subjects
        return ready and not self.missing_ranks()

    def missing_ranks(self) -> tuple[int, ...]:
        """The other ranks of the job that are not ready, as was seen last; no question is asked here, nobody waits."""
        ranks = ranks_of(self._ranks)
        if ranks is None:
            return ()
        return HERALD.missing(tuple(rank for rank in ranks.members if rank != ranks.rank))

    def __bool__(self) -> bool:
        return self.ready

    def status(self) -> dict[str, Any]:
        """The status of all (schema ``jitwarmup.readiness/1``), of plain JSON types."""
        documents = [status_of(ledger, token) for ledger, token in self._given or asked_ledgers()]
        states = {document["state"] for document in documents}
        etas = [document["eta_s"] for document in documents]
        return {
            "schema": READINESS_SCHEMA,
            "ready": self.ready,
            "state": next((state.value for state in WORST_FIRST if state.value in states), State.COLD.value),
            "eta_s": None if not etas or None in etas else max(etas),
            "functions": documents,
            "missing_ranks": list(self.missing_ranks()),
        }


def readiness(*functions: Warmed[Any, Any], ranks: Any = EVERYBODY) -> Readiness:
    """
    The readiness of these functions or, by default, of all that were asked to warm up.

    Args:
        functions: decorated with ``@warmed``.
        ranks: whose readiness counts too: by default all ranks where torch.distributed is initialised (before they warm
            up); a group, or None for this process alone, as where only rank 0 serves.

    Raises:
        ArgumentError: something that is no warmed function, or no group.

    """
    for function in functions:
        if not hasattr(function, "_core") or not hasattr(function, "_token"):
            raise ArgumentError(f"readiness got a {type(function).__name__}; wanted functions decorated with @warmed")
    return Readiness(functions, checked_ranks(ranks))
