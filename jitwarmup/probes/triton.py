"""
What Triton does once: just-in-time compilation and autotuning of kernels that the user's code launches.

Each hook is a single slot that others use too (vLLM claims one), so the former owner is called from ours, and gets the
slot back. Kernels that Inductor builds are told by its records and skipped here. Read in triton 3.4 to 3.9:
``knobs.compilation.listener``; ``knobs.autotuning.listener`` from 3.8 on, before it ``Autotuner._bench``, which runs once
for each configuration tried. Launch hooks sit on every launch and are not used.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

from jitwarmup.probes.base import ARMED, HookProbe, absent, compiling, loaded
from jitwarmup.probes.run_table import RUNS
from jitwarmup.records.protocols import ArmState
from jitwarmup.records.runs import OneTimeWork

Hook = Callable[..., Any]


class ChainedHook:
    """One hook slot of another library: ours goes in front of whoever was there, and leaves without a trace."""

    def __init__(self, owner: Any, attribute: str, callback: Hook) -> None:
        self._owner, self._attribute, self._callback = owner, attribute, callback
        self._had_own = attribute in vars(owner)
        self._former: Hook | None = getattr(owner, attribute, None)
        self._active = True
        self._hook = self._chained()
        setattr(owner, attribute, self._hook)

    def leave(self) -> None:
        """Give the slot back; where somebody has chained ours since, ours stays in their chain and says nothing."""
        self._active = False
        if getattr(self._owner, self._attribute, None) is not self._hook:
            return
        if self._had_own:
            setattr(self._owner, self._attribute, self._former)
        else:
            delattr(self._owner, self._attribute)

    def _chained(self) -> Hook:
        former = self._former

        def hook(*args: Any, **kwargs: Any) -> Any:
            self._notify(args, kwargs)
            return None if former is None else former(*args, **kwargs)

        return hook if former is None else wraps(former)(hook)

    def _notify(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with suppress(BaseException):  # a hook never breaks a kernel's launch
            if self._active and not compiling():
                self._callback(*args, **kwargs)


class Triton(HookProbe):
    """Kinds: ``triton.compile``, ``triton.cache_hit``, ``autotune``; the reason names the kernel."""

    name = "triton"

    def __init__(self) -> None:
        self._slots: dict[str, ChainedHook] = {}

    def arm(self) -> ArmState:
        """Dormant until triton is loaded; unavailable where it has none of the hooks we know."""
        if loaded("triton") is None:
            return absent("triton")
        for purpose, places in (("compile", _compile_slots()), ("autotune", _autotune_slots())):
            if purpose not in self._slots and places:
                self._slots[purpose] = ChainedHook(*places[0])
        if "compile" not in self._slots:
            return ArmState("unavailable", "triton has no compilation hook that is known")
        return ARMED if "autotune" in self._slots else ArmState("armed", "autotuning not seen: no hook that is known")

    def disarm(self) -> None:
        """Gives the slots back to their former owners."""
        for slot in self._slots.values():
            slot.leave()
        self._slots.clear()


def _compile_slots() -> list[tuple[Any, str, Hook]]:
    compilation = getattr(loaded("triton.knobs"), "compilation", None)
    return [(compilation, "listener", _compiled)] if hasattr(compilation, "listener") else []


def _autotune_slots() -> list[tuple[Any, str, Hook]]:
    autotuning = getattr(loaded("triton.knobs"), "autotuning", None)
    tuner = getattr(loaded("triton.runtime.autotuner"), "Autotuner", None)
    places: list[tuple[Any, str, Hook]] = []
    if hasattr(autotuning, "listener"):
        places.append((autotuning, "listener", _autotuned))
    if hasattr(tuner, "_bench"):
        places.append((tuner, "_bench", _tried))
    return places


def _compiled(**facts: Any) -> None:
    """``CompilationListener``: times are microseconds (``CompileTimes.total``)."""
    spent = getattr(facts.get("times"), "total", None)
    RUNS.push(
        "triton",
        OneTimeWork(
            kind="triton.cache_hit" if facts.get("cache_hit") else "triton.compile",
            duration_s=spent / 1e6 if isinstance(spent, (int, float)) else None,
            reason=_kernel(getattr(facts.get("src"), "fn", None)),
        ),
    )


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
