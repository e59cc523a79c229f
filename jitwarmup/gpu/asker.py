"""How one device is asked: within a budget, no more once it is lost, and never again for what it cannot tell."""

from __future__ import annotations

import time
from typing import Any

from jitwarmup.gpu.binding import LOST, Binding, Refused
from jitwarmup.gpu.devices import Device
from jitwarmup.gpu.reading import Edge

ENERGY, POWER_NOW = 83, 186  # millijoules since the driver was loaded; milliwatts
TOO_SLOW = "not asked: the driver is too slow"


class Uninitialised(Exception):  # noqa: N818 - a state, said by raising
    """Somebody else shut NVML down."""


class Asker:
    """
    Asks one device. ``off`` maps a metric to why it is not asked for any more, ``lost`` says that the device is gone.

    ``until_ns`` (host clock) is when the budget of the edge in the making is spent: what is then still to be asked is
    left out, so that a slow driver costs late metrics and not the guard's patience.
    """

    def __init__(self, binding: Binding, device: Device, notes: list[tuple[str, str]]) -> None:
        self.device = device
        self.binding = binding
        self.notes = notes
        self.off: dict[str, str] = {}
        self.lost: str | None = None
        self.until_ns = 0

    def ask(self, edge: Edge, metric: str, function: str, *arguments: Any) -> Any:
        """NVML's answer; or None, with the reason in ``edge.missing`` under the metric's name."""
        if not self._worth_asking(edge, metric):
            return None
        try:
            return self.binding.ask(function, *arguments)
        except Refused as refused:
            self.refuse(edge, metric, refused.code, lasting=refused.lasting)
            return None

    def fields(self, edge: Edge, metric: str, ids: list[tuple[int, int]]) -> dict[int, float]:
        """The values of several fields in one call, without those that the driver refused; by field id."""
        answers = self.ask(edge, metric, "nvmlDeviceGetFieldValues", self.device.handle, ids)
        return {
            answer.fieldId: number_of(answer.valueType, answer.value)
            for answer in answers or ()
            if not answer.nvmlReturn
        }

    def refuse(self, edge: Edge, metric: str, code: str, *, lasting: bool) -> None:
        """Take a refusal to heart."""
        if code == "UNINITIALIZED":
            raise Uninitialised
        edge.missing[metric] = code
        if code in LOST:
            self.lost, edge.lost = code, True
            self.notes.append(("device", code))
        elif lasting:
            self.off[metric] = code
        else:
            edge.passing.add(metric)

    def _worth_asking(self, edge: Edge, metric: str) -> bool:
        """Whether the device is there, can tell this, and there is time left to ask."""
        if self.lost:
            edge.lost = True
            edge.missing[metric] = self.lost
        elif metric in self.off:
            edge.missing[metric] = self.off[metric]
        elif time.perf_counter_ns() > self.until_ns:
            edge.missing[metric] = TOO_SLOW
            edge.passing.add(metric)
        else:
            return True
        return False


def number_of(value_type: int, value: Any) -> float:
    """The number in an nvmlValue_t, by its nvmlValueType_t."""
    names = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
    name = names[value_type] if 0 <= value_type < len(names) else "ullVal"
    number: float = getattr(value, name)
    return number
