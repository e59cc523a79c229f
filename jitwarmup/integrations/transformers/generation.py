"""
What one ``model.generate()`` was asked for and gave, and what all of a measurement's calls tell together.

Facts are flat and plain; prompts and outputs never get here, only shapes, counts and a hash of the output that two runs
are compared by. Advice is data: a kind and its numbers.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jitwarmup.integrations.transformers.tokens import Fact, Facts, Notes, Stamps
from jitwarmup.probes import asked_for
from jitwarmup.records.runs import Phase, Run
from jitwarmup.records.verdict import Reason

STATIC_LAYER = re.compile(r"\w*Static\w*Layer \((\d+), (\d+), (\d+)")  # batch, heads, length of a static cache layer
AUTO_COMPILED = ("cuda", "xpu", "neuron", "tpu")  # where a static cache alone makes generate() compile its decode
RECOMPILED = ("dynamo.recompile", "dynamo.eager_fallback")


@dataclass(frozen=True, slots=True)
class Asked:
    """
    What a call of ``generate`` asks for. Holds no token.

    ``given_back`` tokens of its output are no new ones; ``around``: a compiled model was given, whose generate() is the
    model's own and goes around it.
    """

    batch: int | None = None
    input_tokens: int | None = None
    given_back: int = 0
    cache: str | None = None
    compiles: bool = False
    around: bool = False
    greedy: bool = True
    beams: int = 1
    end_tokens: tuple[int, ...] = ()

    @classmethod
    def of(cls, model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Asked:
        """Read from the arguments of ``model.generate`` and from the configurations behind them."""
        config = kwargs.get("generation_config") or (args[1] if len(args) > 1 else None)
        defaults = getattr(model, "generation_config", None)

        def asked(name: str) -> Any:
            places = (kwargs.get(name), getattr(config, name, None), getattr(defaults, name, None))
            return next((value for value in places if value is not None), None)

        shape = tuple(getattr(given_to(args, kwargs), "shape", ()))
        cache = asked("cache_implementation")
        ends = asked("eos_token_id")
        return cls(
            batch=int(shape[0]) if shape else None,
            input_tokens=int(shape[1]) if len(shape) > 1 else None,
            given_back=given_back(model, args, kwargs),
            cache=cache if isinstance(cache, str) else None,
            compiles=asks_for_compile(model, cache, asked("compile_config"), disabled=bool(asked("disable_compile"))),
            greedy=not asked("do_sample"),
            beams=int(asked("num_beams") or 1),
            end_tokens=tuple(ends) if isinstance(ends, list | tuple) else () if ends is None else (int(ends),),
        )


def given_to(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The prompt among the arguments of ``model.generate``."""
    named = (kwargs.get(name) for name in ("input_ids", "inputs", "input_features", "inputs_embeds"))
    return next((value for value in (*named, *args[:1]) if value is not None), None)


def given_back(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Tokens of each output sequence that were there before: a prompt of ids, what a decoder began with, none of embeddings."""
    decodes = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
    named = ("decoder_input_ids",) if decodes else ("input_ids", "inputs")
    prompt = next((kwargs[name] for name in named if kwargs.get(name) is not None), None)
    if prompt is None and args and not decodes:
        prompt = args[0]
    if prompt is None:  # generate() begins with a token of its own, but beside embeddings returns the new tokens alone
        return 0 if kwargs.get("inputs_embeds") is not None and not decodes else 1
    return int(tuple(getattr(prompt, "shape", (1,)))[-1])


def asks_for_compile(model: Any, cache: Any, config: Any, *, disabled: bool) -> bool:
    """Whether a caller expects compiled decode: by ``compile_config``, a static cache on a GPU, or ``torch.compile``."""
    layers = model.modules() if callable(getattr(model, "modules", None)) else (model,)
    by_hand = any(asked_for(layer) == "torch.compile" for layer in layers)
    if disabled:
        return by_hand
    device = getattr(getattr(model, "device", None), "type", None)
    static = (isinstance(cache, str) and "static" in cache) or cache == "hybrid"
    return by_hand or config is not None or (static and device in AUTO_COMPILED)


class Generated:
    """The note of one ``generate()``: what it asked for and, when the clock has stopped, what shape and hash came out."""

    def __init__(self, asked: Asked, given: Any) -> None:
        self.asked = asked
        self.given = given
        self.inputs: str | None = None
        self.output: Any = None
        self.shape: tuple[int, ...] = ()
        self.hash: str | None = None
        self.audited: tuple[int, int] | None = None  # decode steps, and calls that compiled code served meanwhile
        self.untimed: str | None = None

    def finish(self, _t0_ns: int) -> Mapping[str, Any]:
        """Hash what went in (compared in this process, never told) and what came out, and let both go."""
        given, output = self.given, self.output
        self.given = self.output = None
        self.inputs = hash_of(given) if hasattr(given, "detach") else None
        tokens = getattr(output, "sequences", output)
        if tokens is not None and hasattr(tokens, "shape"):
            self.shape = tuple(int(size) for size in tokens.shape)
            self.hash = hash_of(tokens)
        return {}

    @property
    def new_tokens(self) -> int | None:
        """Tokens that each sequence grew by, padding included."""
        if not self.shape:
            return None
        return self.shape[-1] - self.asked.given_back

    def facts(self, notes: Notes, runs: Sequence[Run]) -> Facts:
        """Everything that the calls of one measurement tell together."""
        calls = [note for _, note in notes if isinstance(note, Generated)]
        measured = [note for run, note in notes if run.phase is Phase.MEASURE]
        kept = [note for note in measured if isinstance(note, Generated)] or calls
        facts = {**shapes(kept), **outputs(kept), **static_cache(runs), **recompiles(runs), **compiled(calls, runs)}
        counts = [count for note in measured if isinstance(note, Stamps) and note.times for count in note.times.counts]
        if counts:
            facts |= {"new_tokens_min": min(counts), "new_tokens_max": max(counts)}
        return facts, advice(facts, [call.asked for call in calls])


def hash_of(tokens: Any) -> str | None:
    """A short hash of token ids and their shape; None of what is no tensor."""
    if not hasattr(tokens, "detach"):
        return None
    data = tokens.detach().cpu().contiguous().numpy()
    return hashlib.blake2b(repr((data.dtype.str, data.shape)).encode() + data.tobytes(), digest_size=8).hexdigest()


def shapes(calls: Sequence[Generated]) -> dict[str, Fact]:
    """Batch, tokens in and out; the largest, and the smallest where they differ."""
    series = {
        "batch": [call.asked.batch for call in calls],
        "input_tokens": [call.asked.input_tokens for call in calls],
        "output_tokens": [call.new_tokens for call in calls],
    }
    facts: dict[str, Fact] = {"generate_calls": len(calls), "greedy": all(call.asked.greedy for call in calls)}
    for name, values in series.items():
        known = {value for value in values if value is not None}
        facts |= {name: max(known)} if known else {}
        facts |= {f"{name}_min": min(known)} if len(known) > 1 else {}
    untimed = next((call.untimed for call in calls if call.untimed), None)
    return facts if untimed is None else {**facts, "untimed": untimed}


def outputs(calls: Sequence[Generated]) -> dict[str, Fact]:
    """Whether equal inputs gave equal outputs in all measured runs; greedy ones that did not are marked."""
    found = {(call.inputs, call.hash) for call in calls if call.hash is not None}
    if not found:
        return {}
    equal = len({inputs for inputs, _ in found}) == len(found)
    facts: dict[str, Fact] = {"outputs_equal": equal, "outputs_distinct": len(found)}
    if len(found) == 1:
        facts["output_hash"] = next(iter(found))[1]
    if not equal and all(call.asked.greedy for call in calls):
        facts["greedy_outputs_differ"] = True
    return facts


def static_cache(runs: Iterable[Run]) -> dict[str, Fact]:
    """Length of the static cache as it was really allocated, in the newest run, and how many lengths there were."""
    lengths = [
        int(found[3])
        for run in runs
        for work in run.work
        if work.kind == "kv_cache.allocate" and (found := STATIC_LAYER.match(work.reason or ""))
    ]
    return {"static_cache_len": max(lengths), "static_cache_lengths": len(set(lengths))} if lengths else {}


def recompiles(runs: Iterable[Run]) -> dict[str, Fact]:
    """How often, by cause."""
    causes: Counter[str] = Counter()
    for run in runs:
        for work in run.work:
            if work.kind in RECOMPILED and work.scope != "foreign":
                causes[cause_of(work.reason or "")] += work.count
    return {"recompiles": causes.total(), **{f"recompiles_{cause}": count for cause, count in sorted(causes.items())}}


def cause_of(reason: str) -> str:
    """
    ``batch``, ``prompt_length``, ``dtype`` or ``other``, from a reason that the probes rebuilt.

    Every tensor of a decode step begins with the batch; its other sizes follow the prompt (mask, static cache).
    """
    if re.search(r"\bdtype\b", reason):
        return "dtype"
    found = (
        None
        if reason.startswith("a combination")
        else re.search(r"(?:size|stride) of .* changed at dimension (\d+)", reason)
    )
    if found is None:
        return "other"
    return "batch" if found[1] == "0" else "prompt_length"


def compiled(calls: Sequence[Generated], runs: Sequence[Run]) -> dict[str, Fact]:
    """Whether decode was asked to be compiled, and whether it was: by an audited run, else by captures that were seen."""
    facts: dict[str, Fact] = {"compile_asked": any(call.asked.compiles for call in calls)}
    audits = [call.audited for call in calls if call.audited is not None]
    cache = next((call.asked.cache for call in calls if call.asked.cache), None)
    facts |= {} if cache is None else {"cache_implementation": cache}
    if audits:
        steps, served = audits[-1]  # a step with graph breaks makes several calls
        if not steps:
            return {**facts, "decode_steps": 0, "decode_evidence": "no decode step"}
        facts |= {"decode_steps": steps, "decode_compiled_steps": min(served, steps)}
        return {**facts, "decode_compiled": 0 < steps <= served, "decode_evidence": "audit"}
    if not facts["compile_asked"]:
        return facts
    if any(work.kind.startswith("dynamo.") for run in runs for work in run.work if work.charged):
        return {**facts, "decode_compiled": True, "decode_evidence": "captures"}
    return {**facts, "decode_evidence": "none: no warm-up run was audited"}


def advice(facts: Mapping[str, Fact], calls: Sequence[Asked]) -> list[Reason]:
    """The fixes that are known for what was seen."""
    found: list[Reason] = []
    by_length, by_batch = facts.get("recompiles_prompt_length", 0), facts.get("recompiles_batch", 0)
    largest = {name: float(max(getattr(call, name) or 0 for call in calls)) for name in ("input_tokens", "batch")}
    if by_length and facts.get("static_cache_len"):
        numbers = {"max_cache_len": float(facts["static_cache_len"]), "recompiles": float(by_length)}
        found.append(Reason(kind="pin_max_cache_len", numbers=numbers))
    if by_length or by_batch:
        known = {name: size for name, size in largest.items() if size}
        found.append(Reason(kind="warm_with_largest_shape", numbers=known))
    lengths = {call.input_tokens for call in calls} - {None}
    if by_length and len(lengths) > 1:
        found.append(Reason(kind="pad_to_buckets", numbers={"lengths": float(len(lengths))}, subject="input_tokens"))
    if by_batch:
        found.append(Reason(kind="pad_to_buckets", numbers={"batch": largest["batch"]}, subject="batch"))
    if facts.get("compile_asked") and facts.get("decode_steps") == 0:
        found.append(Reason(kind="warm_with_decode_steps"))
    if facts.get("compile_asked") and facts.get("decode_compiled") is False:
        static = any("static" in (call.cache or "") for call in calls)
        kind = "compile_on_a_supported_device" if static else "use_static_cache"
        found.append(Reason(kind="compile_in_place" if any(call.around for call in calls) else kind))
    return found
