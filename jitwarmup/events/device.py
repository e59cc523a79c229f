"""A device reading as flat event keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from jitwarmup.records.runs import DeviceReading

_SAME: Final = (
    "uuid",
    "name",
    "status",
    "energy_j",
    "energy_source",
    "energy_error_j",
    "power_mean_w",
    "power_max_w",
    "sm_clock_max_mhz",
    "memory_peak_bytes",
    "sm_active_pct",
    "tensor_active_pct",
    "dram_bw_pct",
    "samples",
)
_PAIRS: Final = ("temperature_c", "sm_clock_mhz", "memory_used_bytes")  # before and after the window


def device_fields(reading: DeviceReading | None) -> dict[str, Any]:
    """
    The ``device_...`` keys of a reading; none where there is no reading.

    A pair (before, after) gives two keys; what is None, empty or unread is left out, never 0. The keys are of the first
    device; ``device_count`` says how many were read.
    """
    if reading is None:
        return {}
    fields = {f"device_{name}": getattr(reading, name) for name in _SAME}
    for name in _PAIRS:
        stem, unit = name.rsplit("_", 1)
        fields[f"device_{stem}_before_{unit}"], fields[f"device_{name}"] = getattr(reading, name)
    fields |= {
        "device_count": 1 + len(reading.others),
        "device_reasons": list(reading.reasons_at_edges),
        "device_other_processes": len(reading.other_pids) or None,
        "device_missing": sorted(reading.missing),
    }
    fields |= {f"device_throttled_{slug(limit)}_s": spent for limit, spent in reading.throttled_s.items()}
    unread = {name for name, value in fields.items() if value is None or (isinstance(value, str | list) and not value)}
    return {name: value for name, value in fields.items() if name not in unread}


def ledger_fields(ledger: Mapping[str, float], most: int = 23) -> dict[str, float]:
    """
    The ``ledger_<cause>_s`` keys of a ledger; beyond ``most`` causes the smallest are summed as ``ledger_other_s``.

    So the keys still sum to the wall time.
    """
    causes = sorted(ledger.items(), key=lambda entry: -entry[1])
    fields: dict[str, float] = {}
    for index, (cause, spent) in enumerate(causes):
        name = f"ledger_{slug(cause) if index < most else 'other'}_s"
        fields[name] = fields.get(name, 0.0) + spent
    return fields


def slug(name: str) -> str:
    """A name as part of a key: lower case, at most 40 of a-z, 0-9 and underscore."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40] or "unnamed"
