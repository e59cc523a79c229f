"""
Short series with a planted class, and how often `classify` finds it.

    python tests/bench/planted.py

Four shapes, flat, warmup (step, two steps, decay), slowdown (step, with and without a slow start) and no steady state
(a change or a cycle within the last quarter, a drift), are multiplied with noise: `quiet`, windows of the published
steady parts of Barrett et al. 2017 (spread 0.1 %); `jvm`, neighbours that resemble each other (0.3), 3.5 %, and rare
spikes; `busy`, 15 % and frequent spikes, as on a shared host, where only large shifts can be told.
"""

from __future__ import annotations

import functools
import json
import math
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from jitwarmup.analysis.classify import classify  # noqa: E402 - after the path

SHAPES = ("flat", "warmup", "slowdown", "no_steady_state")
NOISES = ("quiet", "jvm", "busy")
BARRETT = ROOT / "tests/data/barrett2017_series.json"


def planted(chance: random.Random, shape: str, noise: str, size: int) -> list[float]:
    """One series of ``size`` seconds around 1 s."""
    return [
        level * error for level, error in zip(level_of(chance, shape, size), noise_of(chance, noise, size), strict=True)
    ]


def level_of(chance: random.Random, shape: str, size: int) -> list[float]:
    if shape == "warmup":
        return warming(chance, size)
    if shape == "slowdown":
        fast, factor = chance.randint(max(2, size // 10), size // 2), chance.uniform(1.12, 1.5)
        levels = [1 / factor if at < fast else 1.0 for at in range(size)]
        return [3.0, *levels[1:]] if chance.random() < 0.3 else levels
    if shape == "no_steady_state":
        return unsettled(chance, size)
    return [1.0] * size


def warming(chance: random.Random, size: int) -> list[float]:
    slow, factor = chance.randint(1, size // 3), math.exp(chance.uniform(math.log(1.15), math.log(5)))
    kind = chance.choice(["step", "steps", "decay"])
    if kind == "decay":
        return [1 + (factor - 1) * math.exp(-at / max(slow / 4, 0.3)) for at in range(size)]
    middle = 1 + (factor - 1) / 2 if kind == "steps" and factor > 1.5 else factor
    return [factor if at < max(1, slow // 2) else middle if at < slow else 1.0 for at in range(size)]


def unsettled(chance: random.Random, size: int) -> list[float]:
    quarter = max(5, size // 4)
    factor = math.exp(chance.choice([-1, 1]) * chance.uniform(math.log(1.15), math.log(1.5)))
    kind = chance.choice(["change", "cycle", "drift"])
    if kind == "change":
        late = chance.randint(3, quarter - 1)
        return [factor if at >= size - late else 1.0 for at in range(size)]
    if kind == "cycle":
        period = chance.randint(3, quarter - 1)
        newest = chance.randint(3, period)
        return [1.0 if ((size - 1 - at + period - newest) // period) % 2 == 0 else factor for at in range(size)]
    per_run = math.copysign(chance.uniform(0.015, 0.04), math.log(factor))
    return [math.exp(per_run * at) for at in range(size)]


def noise_of(chance: random.Random, noise: str, size: int) -> list[float]:
    if noise == "quiet":
        part = chance.choice(quiet_parts())
        first = chance.randrange(len(part) - size)
        window = part[first : first + size]
        return [value / median(window) for value in window]
    spread, alike, spikes, tall = (0.035, 0.3, 0.03, 0.15) if noise == "jvm" else (0.15, 0.0, 0.1, 0.5)
    state, errors = chance.gauss(0, 1), []
    for _ in range(size):
        spike = 1 + chance.expovariate(1 / tall) if chance.random() < spikes else 1.0
        errors.append(math.exp(spread * state) * spike)
        state = alike * state + math.sqrt(1 - alike * alike) * chance.gauss(0, 1)
    return errors


@functools.cache
def quiet_parts() -> list[list[float]]:
    """The second halves of the published steady series whose spread is below 1 %."""
    documents = [document for document in json.loads(BARRETT.read_text()) if document["steady_start"] is not None]
    parts = [document["series"][max(1000, document["steady_start"]) :] for document in documents]
    return [part for part in parts if spread(part) < 0.01]


# ---------------------------------------------------------------------------------------------- warm-ups for rules

AT_REST = ("flat", "gc", "bimodal", "heavy", "bursts")  # from the first run on
WARMING = ("step", "steps", "decay")
NEVER = ("drift", "late step")
SPREADS = ("quiet", "5 %", "10 %", "20 %", "jvm")
LONGEST = 20  # runs of a planted warm-up


@dataclass(frozen=True)
class Planted:
    """Seconds around 1 s; where the steady part begins (None: nowhere), and after which runs something changed."""

    shape: str
    noise: str
    seconds: list[float]
    end: int | None
    changes: tuple[int, ...] = ()


def rule_series(shapes: tuple[str, ...], each: int, seed: int, size: int = 60) -> Iterator[Planted]:
    """``each`` series of each shape and noise."""
    for shape in shapes:
        for noise in SPREADS:
            chance = random.Random(f"{seed} {shape} {noise}")
            for _ in range(each):
                yield one_series(chance, shape, noise, size)


def one_series(chance: random.Random, shape: str, noise: str, size: int) -> Planted:
    errors = noise_of(chance, noise, size) if noise == "jvm" else spread_of(chance, noise, size)
    levels, changes = [1.0] * size, ()
    end: int | None = 0
    slow, factor = chance.randint(1, LONGEST), math.exp(chance.uniform(math.log(1.15), math.log(5)))
    if shape == "gc":
        levels = [1.3 if at % 7 == 6 else 1.0 for at in range(size)]
    elif shape == "bimodal":
        levels = [chance.choice((1.0, 1.0, 1.3)) for _ in range(size)]
    elif shape == "heavy":
        levels = [1.0 + (chance.paretovariate(1.5) - 1) * 0.05 for _ in range(size)]
    elif shape == "bursts":
        first = chance.randrange(size)
        levels = [1.5 if first <= at < first + 3 else 1.0 for at in range(size)]
    elif shape in ("step", "steps"):
        half = slow // 2 if shape == "steps" else 0
        levels = [1 + (factor - 1) * (2 if at < half else 1) if at < slow else 1.0 for at in range(size)]
        end, changes = slow, tuple(at - 1 for at in {half, slow} if at)
    elif shape == "decay":
        levels = [1 + (factor - 1) * math.exp(-3 * at / slow) for at in range(size)]
        end = next(at for at, level in enumerate(levels) if level <= 1.05)
        changes = tuple(range(end))
    elif shape == "drift":
        per_run, end = chance.uniform(0.005, 0.02) * chance.choice((-1, 1)), None
        levels = [math.exp(per_run * at) for at in range(size)]
    elif shape == "late step":
        at_run, end = chance.randrange(15, 30), None
        levels, changes = [1.0 if at < at_run else factor for at in range(size)], (at_run - 1,)
    return Planted(shape, noise, [level * error for level, error in zip(levels, errors, strict=True)], end, changes)


def spread_of(chance: random.Random, noise: str, size: int) -> list[float]:
    sigma = {"quiet": 0.003, "5 %": 0.05, "10 %": 0.10, "20 %": 0.20}[noise]
    return [math.exp(chance.gauss(0, sigma)) for _ in range(size)]


def spread(part: list[float]) -> float:
    centre = sum(part) / len(part)
    return math.sqrt(sum((value - centre) ** 2 for value in part) / len(part)) / centre


def found(shape: str, noise: str, size: int, times: int = 250, seed: int = 1) -> Counter[str]:
    """How often each label was given to series of one shape."""
    chance = random.Random(f"{seed} {shape} {noise} {size}")
    return Counter(classify(planted(chance, shape, noise, size)).label for _ in range(times))


def right(noise: str, size: int, times: int = 250) -> tuple[float, float]:
    """Shares of series classified right, and left undecided, over the four shapes; undecided is not right."""
    labels = {shape: found(shape, noise, size, times) for shape in SHAPES}
    total = times * len(SHAPES)
    return (
        sum(labels[shape][shape] for shape in SHAPES) / total,
        sum(labels[shape]["inconclusive"] for shape in SHAPES) / total,
    )


def main() -> int:
    print(f"{'noise':<8}{'n':>4}{'right':>8}{'undecided':>11}   right by shape")
    for noise in NOISES:
        for size in (20, 30, 60):
            share, undecided = right(noise, size)
            each = {shape: found(shape, noise, size)[shape] / 250 for shape in SHAPES}
            shapes = "  ".join(f"{shape} {part:.2f}" for shape, part in each.items())
            print(f"{noise:<8}{size:>4}{share:>8.3f}{undecided:>11.3f}   {shapes}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
