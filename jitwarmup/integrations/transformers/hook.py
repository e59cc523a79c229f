"""
Standing between a caller and ``model.generate`` while a run is timed: token times, facts, and the audit of decode.

A `ReplacedGenerate` is the instance attribute ``generate`` only while a run of ours is under way, so that a model that is
copied, pickled or used by others is the model as it was. Calls from other contexts go to the model's own method.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from jitwarmup.host.fork_safe import Locked
from jitwarmup.host.scope import current, leave_note
from jitwarmup.integrations.transformers.generation import Asked, Generated, given_to
from jitwarmup.integrations.transformers.tokens import TokenTimer
from jitwarmup.probes import CompiledCallCounter
from jitwarmup.probes.run_table import RUNS
from jitwarmup.records.runs import OneTimeWork, Phase

STREAMER_POSITION = 7  # of generate(inputs, generation_config, ..., streamer) where it is not given by keyword


@dataclass(eq=False)
class GenerationHook:
    """Looks at the calls of one model's ``generate`` that are made in runs of ours; as of ``warmed_generation``."""

    model: Any
    tokens: bool = True
    audit: bool = True
    compiled: bool = False  # torch.compile(model) was given, whose generate() is the model's own and goes around it
    owed: bool = False  # from a validation on until a run was audited
    last: Generated | None = None

    def call(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """``original(*args, **kwargs)``, looked at where a run or block is being timed."""
        frame = current()
        if frame is None or frame.clock is None:
            return original(*args, **kwargs)
        asked = Asked.of(self.model, args, kwargs)
        asked = replace(asked, compiles=True, around=True) if self.compiled else asked
        call = self.last = Generated(asked, given_to(args, kwargs))
        leave_note(call)
        timer = self._timer(call, args, kwargs)
        if frame.phase is Phase.VALIDATE:
            self.owed = self.audit
        due = frame.phase is Phase.WARM and self.owed and asked.compiles  # the first warm-up run after a validation
        self.owed = self.owed and not due
        counter = CompiledCallCounter.under_way()
        before = counter.served if counter is not None else 0
        call.output = original(*args, **kwargs)
        if due and (
            counter is not None or "torch._dynamo" not in sys.modules
        ):  # else another's audit: nothing is known
            self._audited(call, timer, counter.served - before if counter is not None else 0)
        return call.output

    def _timer(self, call: Generated, args: tuple[Any, ...], kwargs: dict[str, Any]) -> TokenTimer | None:
        """Put a timer before the user's streamer, where generate() takes one."""
        if not self.tokens or call.asked.beams > 1 or len(args) > STREAMER_POSITION:
            call.untimed = "beam search takes no streamer" if call.asked.beams > 1 else "not asked for"
            return None
        given = kwargs.get("streamer")
        timer = given if isinstance(given, TokenTimer) else TokenTimer(given)
        timer.end_tokens = timer.end_tokens or frozenset(call.asked.end_tokens)
        kwargs["streamer"] = timer
        return timer

    def _audited(self, call: Generated, timer: TokenTimer | None, served: int) -> None:
        """Keep what the engine's audit of compiled calls saw, and say so where decode had none."""
        steps = max(0, timer.steps - 1) if timer is not None else 1  # the first token is the prefill's
        call.audited = steps, served
        if served < steps:
            reason = f"{served} compiled calls in {steps} decode steps"
            RUNS.push("transformers", OneTimeWork(kind="generate.not_compiled", reason=reason))


HOOK: ContextVar[GenerationHook | None] = ContextVar("jitwarmup_generation_hook", default=None)
LOCK = Locked()


class ReplacedGenerate:
    """Stands as ``model.generate``; hands each call to the hook of its context, if that one is for this model."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.original = model.generate
        self.restore = replace_generate(model, self)
        self.users = 0

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        hook = HOOK.get()
        if hook is None or hook.model is not self.model:
            return self.original(*args, **kwargs)
        return hook.call(self.original, args, kwargs)


def replace_generate(model: Any, generate: Callable[..., Any]) -> Callable[[], None]:
    """Put ``generate`` on the model; what is returned takes it off, unless another one was put there since."""
    found = vars(model).get("generate")
    object.__setattr__(model, "generate", generate)

    def restore() -> None:
        if vars(model).get("generate") is generate:
            del vars(model)["generate"]
            if found is not None:
                object.__setattr__(model, "generate", found)

    return restore


@contextmanager
def watching(hook: GenerationHook) -> Iterator[None]:
    """For a while, and in this context, calls of ``model.generate`` go through the hook."""
    before = HOOK.get()
    with LOCK._lock:
        standing = vars(hook.model).get("generate")
        replaced = standing if isinstance(standing, ReplacedGenerate) else ReplacedGenerate(hook.model)
        replaced.users += 1
    HOOK.set(hook)
    try:
        yield
    finally:
        HOOK.set(before)
        with LOCK._lock:
            replaced.users -= 1
            if not replaced.users:
                replaced.restore()
