"""
What Triton does once: just-in-time compilation and autotuning of kernels that the user's code launches.

Each hook is a single slot that others use too (vLLM claims one), so the former owner is called from ours, and gets the
slot back. Kernels that Inductor builds are told by its records and skipped here. Read in triton 3.4 to 3.9:
``knobs.compilation.listener``; ``knobs.autotuning.listener`` from 3.8 on, before it ``Autotuner._bench``, which runs once
for each configuration tried. Launch hooks sit on every launch and are not used.
"""

from __future__ import annotations

from typing import Any

from jitwarmup.probes.base import ARMED, ChainedHook, HookProbe, absent, loaded
from jitwarmup.probes.run_table import RUNS
from jitwarmup.records.protocols import ArmState
from jitwarmup.records.runs import OneTimeWork


class Triton(HookProbe):
    """Kinds: ``triton.compile``, ``triton.cache_hit``, ``autotune``; the reason names the kernel."""

    name = "triton"

    def __init__(self) -> None:
        self._slots: dict[str, ChainedHook] = {}

    def arm(self) -> ArmState:
        """Dormant until triton is loaded; unavailable where it has none of the hooks we know."""
        if loaded("triton") is None:
            return absent("triton")
        knobs = loaded("triton.knobs")
        tuner = getattr(loaded("triton.runtime.autotuner"), "Autotuner", None)
        for purpose, owner, attribute, callback in (
            ("compile", getattr(knobs, "compilation", None), "listener", _compiled),
            ("autotune", getattr(knobs, "autotuning", None), "listener", _autotuned),
            ("autotune", tuner, "_bench", _tried),
        ):
            if purpose not in self._slots and hasattr(owner, attribute):
                self._slots[purpose] = ChainedHook(owner, attribute, callback)
        if "compile" not in self._slots:
            return ArmState("unavailable", "triton has no compilation hook that is known")
        return ARMED if "autotune" in self._slots else ArmState("armed", "autotuning not seen: no hook that is known")

    def disarm(self) -> None:
        """Gives the slots back to their former owners."""
        for slot in self._slots.values():
            slot.leave()
        self._slots.clear()


def _compiled(**facts: Any) -> None:
    """``CompilationListener``: times are microseconds (``CompileTimes.total``)."""
    spent = getattr(facts.get("times"), "total", None)
    kind = "triton.cache_hit" if facts.get("cache_hit") else "triton.compile"
    duration_s = spent / 1e6 if isinstance(spent, (int, float)) else None
    reason = _kernel(getattr(facts.get("src"), "fn", None))
    RUNS.push("triton", OneTimeWork(kind=kind, duration_s=duration_s, reason=reason))


def _autotuned(**facts: Any) -> None:
    """``AutotuneListener``: ``duration`` in seconds; a hit (disk, or a single configuration) cost nothing."""
    if not facts.get("cache_hit"):
        spent = facts.get("duration")
        RUNS.push("triton", OneTimeWork(kind="autotune", duration_s=spent, reason=_kernel(facts.get("fn"))))


def _tried(tuner: Any, *_args: Any, **_kwargs: Any) -> None:
    RUNS.push("triton", OneTimeWork(kind="autotune", reason=_kernel(getattr(tuner, "base_fn", None))))


def _kernel(function: Any) -> str | None:
    """The kernel's name, which is an identifier of somebody's source code; anything else is not told."""
    name = getattr(function, "__name__", None)
    return f"kernel {name}" if isinstance(name, str) and name.isidentifier() else None
