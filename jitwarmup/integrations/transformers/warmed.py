"""
``model.generate`` warmed up as it is, with token times and facts.

    generate = warmed_generation(model.generate)            # or a pipeline, or @warmed_generation(model=model)
    report = generate.measure(**inputs, max_new_tokens=64)  # report.first_item, report.item_gap, report.facts
    generate.unwrap()                                       # model.generate, untouched

Nothing here imports transformers: whoever has a model has it loaded already.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

from jitwarmup.api.steady import steady_state
from jitwarmup.api.warmed import Warmed
from jitwarmup.engine import procedures
from jitwarmup.engine.callables import CallableKind, innermost, kind_of
from jitwarmup.engine.options import BlockSettings, Options, check_monitor
from jitwarmup.integrations.transformers.hook import GenerationHook, replace_generate, watching
from jitwarmup.integrations.transformers.tokens import TokenTimer
from jitwarmup.records.codec import TRANSIENT, Record
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.runs import Run


class WarmedGeneration(Warmed[..., Any]):
    """A `Warmed` around generation: its runs carry token times, its reports facts. Made by ``warmed_generation``."""

    def __init__(self, target: Callable[..., Any], hook: GenerationHook, options: Options) -> None:
        super().__init__(observed(target, hook), options)
        self.__wrapped__ = target
        self._hook = hook

    def unwrap(self) -> Callable[..., Any]:
        """What was decorated, as it was."""
        return cast("Callable[..., Any]", self.__wrapped__)

    def __copy__(self) -> WarmedGeneration:
        return WarmedGeneration(self.__wrapped__, self._hook, self._core.options)

    def __deepcopy__(self, memo: dict[int, Any]) -> WarmedGeneration:
        """A cold one around the copied model."""
        hook = replace(self._hook, model=copy.deepcopy(self._hook.model, memo), owed=False, last=None)
        return WarmedGeneration(copy.deepcopy(self.__wrapped__, memo), hook, self._core.options)


def warmed_generation(
    target: Any = None, /, *, model: Any = None, tokens: bool = True, audit: bool = True, **options: Any
) -> Any:
    """
    ``@warmed`` for generation: token times, facts and the audit of decode come with it. The model is not changed.

    Args:
        target: ``model.generate``, a model, a pipeline, or a function that calls them; None to decorate one.
        model: the model that ``target`` generates with; found by itself except for a function.
        tokens: time tokens by a streamer (which makes ``generate`` hand each token to the host).
        audit: look, in the first warm-up run, whether decode that was asked to be compiled really is.
        **options: as of ``warmed``, such as ``iterations``.

    Returns:
        A `WarmedGeneration`, or a decorator where no target was given.

    Raises:
        ArgumentError: no model is to be found, the target is a generator, or an option cannot work.

    """
    if target is None:
        return functools.partial(warmed_generation, model=model, tokens=tokens, audit=audit, **options)
    around, target = target, getattr(target, "_orig_mod", target)  # torch.compile(model)
    # a pipeline is a callable object with a model in it
    is_pipeline = callable(getattr(getattr(target, "model", None), "generate", None)) and not inspect.isroutine(target)
    function = target.generate if not is_pipeline and hasattr(target, "generate") else target
    found = model
    if found is None:
        found = target.model if is_pipeline else getattr(target, "__self__", target)
    if not callable(getattr(found, "generate", None)):
        raise ArgumentError(
            f"warmed_generation() got {type(target).__name__} {getattr(target, '__name__', '')!r} and no model behind "
            "it; wanted model.generate, a model, a pipeline, or a function together with model="
        )
    return WarmedGeneration(
        function, GenerationHook(found, tokens, audit, around is not target), Options.checked(**options)
    )


def observed(target: Callable[..., Any], hook: GenerationHook) -> Callable[..., Any]:
    """A function of the target's kind and name that lets the hook look at the model's ``generate`` while it runs."""
    kind = kind_of(target)
    if kind.streams:
        raise ArgumentError(
            f"warmed_generation() got an {kind.value}; wanted a function that generates: decorate a generator with "
            "@warmed, which times its items"
        )

    its_own = inspect.ismethod(target) and target.__self__ is hook.model and target.__name__ == "generate"

    def call(*args: Any, **kwargs: Any) -> Any:
        if its_own:  # called as it is found: the model's attribute need not be replaced
            return hook.call(target, args, kwargs)
        with watching(hook):
            return target(*args, **kwargs)

    async def acall(*args: Any, **kwargs: Any) -> Any:
        with watching(hook):
            return await target(*args, **kwargs)

    shown = target if hasattr(target, "__qualname__") else type(target)  # never an object's attributes
    names = ("__module__", "__name__", "__qualname__", "__doc__")
    observing = functools.update_wrapper(acall if kind is CallableKind.COROUTINE else call, shown, names, ())
    observing.__wrapped__ = target if inspect.isroutine(target) else innermost(target).__get__(target)
    return observing


@contextmanager
def attached(model: Any, **options: Any) -> Iterator[WarmedGeneration]:
    """Within the block ``model.generate`` itself is warmed, afterwards as it was; options as of ``warmed_generation``."""
    generate: WarmedGeneration = warmed_generation(model.generate, model=model, **options)
    restore = replace_generate(model, generate)
    try:
        yield generate
    finally:
        restore()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing(Record):
    """
    One ``generate()``, as ``time_generate`` took it. Where ``warmup`` was asked for nothing was measured: all None.

    ``latency_s`` is wall seconds, fence to fence; ``first_token_s`` seconds to the first delivery; ``inter_token_s`` the mean
    seconds of a token after it; ``gaps_ns`` (nanoseconds) and ``counts`` (tokens of each sequence) as of `TokenTimes`;
    ``output_hash`` stands for the tokens. ``output`` is what generate returned.
    """

    warmup: bool
    latency_s: float | None = None
    first_token_s: float | None = None
    inter_token_s: float | None = None
    gaps_ns: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    output_hash: str | None = None
    run: Run | None = None
    output: Any = field(default=None, compare=False, repr=False, metadata={TRANSIENT: True})


def time_generate(
    model: Any, inputs: Any, /, *, warmup: bool = False, monitor: Any = None, streamer: Any = None, **asked: Any
) -> Timing:
    """
    One timed ``model.generate``, for those who come from HuggingFace's benchmark framework.

    With ``warmup=True`` it runs once in silence: the monitor stays off, the streamer hears nothing, nothing is measured
    or logged, and the random streams are left as they were. Otherwise one timed block, with its one event.

    Args:
        model: a transformers model.
        inputs: what the tokenizer gave (a mapping), or the prompt's tensor.
        warmup: only run.
        monitor: an object with pause, resume and window(name).
        streamer: the caller's own.
        **asked: arguments of ``generate``, such as ``max_new_tokens``.

    Raises:
        BaseException: whatever ``generate`` raised.

    """
    check_monitor(monitor)
    arguments = {**inputs, **asked} if isinstance(inputs, Mapping) else {"inputs": inputs, **asked}
    if warmup:
        generate = warmed_generation(model.generate, model=model, iterations=0, audit=False)
        quiet = BlockSettings(log=SimpleNamespace(emit=lambda *_: None), monitor=monitor)
        generate._carry_out(procedures.warm, (), arguments | {"streamer": streamer}, quiet)
        return Timing(warmup=True)
    hook, timer = GenerationHook(model, audit=False), TokenTimer(streamer)
    with steady_state(monitor=monitor) as steady:
        output = hook.call(model.generate, (), {**arguments, "streamer": timer})
    run, call = steady.block, hook.last
    mean_ns = timer.times[-1].gap_mean_ns if timer.times else None
    return Timing(
        warmup=False,
        latency_s=run.duration_s if run is not None else None,
        first_token_s=run.first_item_s if run is not None else None,
        inter_token_s=mean_ns / 1e9 if mean_ns is not None else None,
        gaps_ns=timer.gaps_ns,
        counts=timer.counts,
        output_shape=call.shape if call is not None else (),
        output_hash=call.hash if call is not None else None,
        run=run,
        output=output,
    )
