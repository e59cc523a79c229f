"""The first run that this process made of a key: the cold one."""

from __future__ import annotations

from dataclasses import dataclass

from jitwarmup.records.runs import Run


@dataclass(slots=True, eq=False)
class FirstRun:
    """The first run that this process made of a key; ``warm_before`` where compiled programs were there already."""

    run: Run
    warm_before: bool = False

    @property
    def cold_s(self) -> float | None:
        """Its seconds, where it was a cold one that went well."""
        return None if self.warm_before or self.run.outcome != "ok" else self.run.duration_s
