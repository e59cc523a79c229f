"""Probes: sources of one-time work, one file a source. (Placeholder until the probes land.)"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jitwarmup.model.runs import OneTimeWork


@dataclass(frozen=True, slots=True)
class Seen:
    work: tuple[OneTimeWork, ...] = ()
    cpu_s: float | None = None
    wait_s: float | None = None
    switches: int | None = None


NOTHING = Seen()


class Watch:
    def arm(self) -> None: ...
    def watched(self) -> tuple[str, ...]:
        return ()

    def unwatched(self) -> Mapping[str, str]:
        return {}

    def open(self) -> Any: ...
    def close(self, token: Any) -> Seen:
        return NOTHING

    def suspend(self, token: Any) -> None: ...
    def resume(self, token: Any) -> None: ...


WATCH = Watch()


def watch_of(probes: Any) -> Watch:
    return WATCH
