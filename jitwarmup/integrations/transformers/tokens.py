"""
Token times from a streamer, in integer nanoseconds of the clock that times the run.

    run's first clock read ── put(prompt) ── put(token 1) ── put(token 2) ── ... ── end()
    |<────────── first_token_ns ──────────────>|<─ gaps_ns[0] ─>|

HuggingFace's benchmark framework (``benchmark_v2/framework/benchmark_runner.py``) passes seconds since boot through
float32 (a resolution of 7.8 ms after a day, half a second after seven weeks) and counts ``end()`` as a token. Here
nothing is subtracted in floating point, and ``end()`` is not a token.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from jitwarmup.analysis.classify import classify
from jitwarmup.engine.instruments import PLAIN_CLOCK
from jitwarmup.host.scope import is_warming, leave_note
from jitwarmup.records.codec import Record
from jitwarmup.records.protocols import Clock, RunAnnotation
from jitwarmup.records.runs import Phase, Run
from jitwarmup.records.verdict import Reason

Fact = str | int | float | bool
Facts = tuple[Mapping[str, Fact], Sequence[Reason]]
Notes = Sequence[tuple[Run, RunAnnotation]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTimes(Record):
    """
    The token times of one ``generate()``.

    ``first_token_ns`` counts from the beginning of the run (without one: from ``TokenTimer.start()``, else from the
    prompt). ``gaps_ns`` lie between successive deliveries, one fewer than ``steps``; ``delivered`` is how many tokens each
    delivery brought a sequence (assisted decoding brings several at once, any other way one); ``counts`` holds the tokens
    of each sequence of the batch, the end token included and padding after it not.
    """

    batch: int
    prompt_tokens: int
    steps: int
    counts: tuple[int, ...]
    first_token_ns: int | None
    gaps_ns: tuple[int, ...]
    delivered: tuple[int, ...] = ()

    @property
    def tokens(self) -> int:
        """Tokens of all sequences."""
        return sum(self.counts)

    @property
    def gap_mean_ns(self) -> float | None:
        """Mean time from token to token after the first delivery; None where nothing came after it."""
        tokens = sum(self.delivered[1:]) if self.delivered else len(self.gaps_ns)
        return sum(self.gaps_ns) / tokens if tokens else None

    @property
    def token_gaps_s(self) -> tuple[float, ...]:
        """
        Seconds of each token after the first delivery. Tokens that came together have no times of their own: where a
        delivery brought several, all have the mean.
        """
        mean_ns = self.gap_mean_ns
        if mean_ns is None:
            return ()
        several = any(width != 1 for width in self.delivered)
        each_ns = [mean_ns] * sum(self.delivered[1:]) if several else self.gaps_ns
        return tuple(gap / 1e9 for gap in each_ns)


class Stamps:
    """The clock readings of one ``generate()`` while it runs; ``times`` when it has finished. Tokens are then let go."""

    def __init__(self, prompt: Any, end_tokens: frozenset[int]) -> None:
        shape = tuple(getattr(prompt, "shape", ()))
        self.batch = int(shape[0]) if len(shape) > 1 else 1
        self.prompt_tokens = int(shape[-1]) if shape else 0
        self.clock: Clock = PLAIN_CLOCK
        self.ns: list[int] = []
        self.values: list[Any] = []
        self.end_tokens = end_tokens
        self.times: TokenTimes | None = None

    def finish(self, t0_ns: int) -> Mapping[str, Any]:
        """What the run's record gets: seconds to the first token, gaps, and tokens of all sequences."""
        ns = self.ns
        self.times = times = TokenTimes(
            batch=self.batch,
            prompt_tokens=self.prompt_tokens,
            steps=len(ns),
            counts=counts(self.values, self.batch, self.end_tokens),
            first_token_ns=ns[0] - t0_ns if ns else None,
            gaps_ns=tuple(after - before for before, after in itertools.pairwise(ns)),
            delivered=tuple(len(flat(value)) // self.batch for value in self.values),
        )
        self.values = []
        if times.first_token_ns is None:
            return {}
        return {"first_item_s": times.first_token_ns / 1e9, "item_gaps_s": times.token_gaps_s, "items": times.tokens}

    def facts(self, notes: Notes, runs: Sequence[Run]) -> Facts:
        """Prefill and decode apart, each with its own class of series; over the clean measured runs where there are any."""
        final = {run.started_at: run for run in runs}
        timed = [(final.get(run.started_at, run), note.times) for run, note in notes if isinstance(note, Stamps)]
        clean = [times for run, times in timed if times is not None and run.clean]
        kept = clean or [times for run, times in timed if times is not None and run.phase is Phase.MEASURE]
        prefill = [times.first_token_ns / 1e9 for times in kept if times.first_token_ns is not None]
        decode = [times.gap_mean_ns / 1e9 for times in kept if times.gap_mean_ns is not None]
        facts: dict[str, Fact] = {}
        for key, name, seconds in (("prefill_s", "prefill", prefill), ("decode_token_s", "decode", decode)):
            if seconds:
                facts |= {key: median(seconds), f"{name}_label": classify(seconds).label}
        return facts, ()


def flat(value: Any) -> list[Any]:
    """The tokens of one delivery."""
    return value.reshape(-1).tolist() if hasattr(value, "reshape") else list(value)


def counts(values: Sequence[Any], batch: int, end_tokens: frozenset[int]) -> tuple[int, ...]:
    """Tokens of each sequence over the deliveries of a batch; what follows an end token is padding."""
    alive, found = [True] * batch, [0] * batch
    for value in values:
        tokens = flat(value)
        width = max(1, len(tokens) // batch)  # assisted decoding delivers several tokens at once
        for place, token in enumerate(tokens):
            row = min(place // width, batch - 1)
            found[row] += alive[row]
            alive[row] = alive[row] and token not in end_tokens
    return tuple(found)


class TokenTimer:
    """
    A transformers streamer that notes when tokens come, and hands them on to the user's own streamer.

    Inside a timed run it reads that run's clock and counts from its beginning; the run's record gets its figures. In
    validation and warm-up the user's streamer hears nothing. One timer serves any number of ``generate()`` calls, one
    after another; each thread needs its own.

    Args:
        streamer: the user's own, or None.
        clock: an object with ``now() -> int`` (ns); by default the run's.
        end_tokens: token ids after which a sequence is padding.

    """

    def __init__(self, streamer: Any = None, *, clock: Clock | None = None, end_tokens: Sequence[int] = ()) -> None:
        self._streamer = streamer
        self._clock = clock
        self.end_tokens = frozenset(end_tokens)
        self._notes: list[Stamps] = []
        self._open: Stamps | None = None
        self._deliver = streamer is not None
        self._owned = False
        self._t0: int | None = None

    def start(self) -> None:
        """Count from now on, where no run of jitwarmup is around the call."""
        self._t0 = (self._clock or PLAIN_CLOCK).now()

    def put(self, value: Any) -> None:
        """The prompt, then each step's tokens."""
        if self._open is None:
            self._begin(value)
        else:
            self._open.ns.append(self._open.clock.now())
            self._open.values.append(value)
        if self._deliver:
            self._streamer.put(value)

    def _begin(self, prompt: Any) -> None:
        self._open = stamps = Stamps(prompt, self.end_tokens)
        self._notes.append(stamps)
        frame = leave_note(stamps)
        self._owned = frame is not None
        stamps.clock = self._clock or (frame.clock if frame is not None else None) or PLAIN_CLOCK
        if not self._owned and self._t0 is None:
            self.start()
        self._deliver = self._streamer is not None and not is_warming()

    def end(self) -> None:
        """The last token has come; this is no token."""
        stamps, self._open = self._open, None
        if stamps is not None and not self._owned and self._t0 is not None:
            stamps.finish(self._t0)
            self._t0 = None
        if self._deliver:
            self._streamer.end()

    @property
    def times(self) -> tuple[TokenTimes, ...]:
        """Of every generation so far whose run is over, in order."""
        return tuple(stamps.times for stamps in self._notes if stamps.times is not None)

    @property
    def steps(self) -> int:
        """Deliveries of the newest generation so far, the prompt not among them."""
        return len(self._notes[-1].ns) if self._notes else 0

    @property
    def first_token_ns(self) -> int | None:
        """Of the newest generation."""
        return self.times[-1].first_token_ns if self.times else None

    @property
    def gaps_ns(self) -> tuple[int, ...]:
        """Of the newest generation."""
        return self.times[-1].gaps_ns if self.times else ()

    @property
    def counts(self) -> tuple[int, ...]:
        """Tokens of each sequence of the newest generation."""
        return self.times[-1].counts if self.times else ()
