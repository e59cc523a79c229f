"""
Is it ready? For health probes: cheap, and never waiting for a warm-up.

It is the readiness of this process; where ranks warm up in step (``ranks="world"``), that of one is that of all. Where
worker processes that serve one port share a folder (`workers`), it is that of the service: of every worker that lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitwarmup.api.warmed import Warmed
from jitwarmup.api.workers import SERVICE
from jitwarmup.host.switch import SWITCH
from jitwarmup.keys.registry import WORST_FIRST
from jitwarmup.keys.status import Subjects, requested_registries, status_of
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.runs import State

READINESS_SCHEMA = "jitwarmup.readiness/1"


class Readiness:
    """
    Whether functions are ready; true in a boolean context when all are. With none asked to warm it is not ready.

    By default about every function that ``.warm``, ``.warm_all``, ``.awarm`` or a lifespan was asked to warm. It latches:
    functions that are asked later do not count, and only ``on_loss="unready"`` takes readiness back.
    """

    def __init__(self, functions: Sequence[Warmed[Any, Any]] = ()) -> None:
        self._given: Subjects = [(function._core.registry, function._instance_id) for function in functions]
        self._latched: Subjects = []
        SERVICE.join(self)

    @property
    def ready(self) -> bool:
        """Whether everything that was asked to warm is warm, in every worker of the service; latches in each."""
        return with_workers({"ready": self.ready_here})["ready"]  # type: ignore[no-any-return]

    @property
    def ready_here(self) -> bool:
        """Whether everything that was asked to warm is warm in this process; latches."""
        if SWITCH.reasons:
            return True
        subjects = self._latched or self._given or requested_registries()
        ready = bool(subjects) and all(registry.ready(instance_id) for registry, instance_id in subjects)
        if ready:
            self._latched = subjects
        return ready

    def __bool__(self) -> bool:
        return self.ready

    def status(self) -> dict[str, Any]:
        """The status of all (schema ``jitwarmup.readiness/1``), of plain JSON types."""
        return with_workers(self.status_here())

    def status_here(self) -> dict[str, Any]:
        """The status of all in this process."""
        documents = [
            status_of(registry, instance_id) for registry, instance_id in self._given or requested_registries()
        ]
        states = {document["state"] for document in documents}
        etas = [document["eta_s"] for document in documents]
        return {
            "schema": READINESS_SCHEMA,
            "ready": self.ready_here,
            "state": next((state.value for state in WORST_FIRST if state.value in states), State.COLD.value),
            "eta_s": None if not etas or None in etas else max(etas),
            "functions": documents,
        }


def with_workers(document: dict[str, Any]) -> dict[str, Any]:
    """The document of this process as that of the service: with ``workers`` (how many are known, and ready) if it has several."""
    workers = SERVICE.count()
    if workers is None:
        return document
    return {**document, "ready": document["ready"] and workers["ready"] >= workers["known"], "workers": workers}


def readiness(*functions: Warmed[Any, Any]) -> Readiness:
    """
    The readiness of these functions or, by default, of all that were asked to warm up.

    Args:
        functions: decorated with ``@warmed``.

    Raises:
        ArgumentError: something that is no warmed function.

    """
    for function in functions:
        if not isinstance(function, Warmed):
            raise ArgumentError(f"readiness got a {type(function).__name__}; wanted functions decorated with @warmed")
    return Readiness(functions)
