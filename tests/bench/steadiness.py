"""
Does the rule find the end of warm-up, and does the interval hold what it promises?

    python tests/bench/steadiness.py [FOLDER]      (default: ../shared/data/torch_cpu, else the copy in tests/data)

Table 1, over recorded series of torch on a shared CPU: where each rule stops warming up, how far the warm-up end that it
tells lies from the true one, and whether a compile falls into the 10 runs measured afterwards. The true end of compiled
series is the run after the last one that compiled; of eager ones the first run within 25 % of the tail, waits for a
processor taken off. Series that never come to rest by construction (growing, step, cyclic) have no true end and are
left out of table 1. Table 2: how often the interval of 10 or 20 neighbouring runs holds the long-run median.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from jitwarmup.analysis.stats import CONTENDED, median_interval, quantile  # noqa: E402 - after the path
from jitwarmup.engine.rules import RuleLike, until_steady, would_have_said  # noqa: E402 - after the path
from jitwarmup.records.runs import Decision, OneTimeWork, Phase, Run  # noqa: E402 - after the path

FOLDER = ROOT.parent / "shared/data/torch_cpu"
SHIPPED = ROOT / "tests/data/torch_cpu"
BARRETT = ROOT / "tests/data/barrett2017_series.json"
NEVER_AT_REST = ("cyclic", "eager_growing", "eager_step")
MEASURED = 10
SIZES = (10, 20)  # of the samples whose interval is asked


@dataclass(frozen=True)
class Series:
    """One recorded process: its runs (the first is the validation), and where its steady part truly starts."""

    name: str
    runs: list[Run]

    @property
    def compiled(self) -> bool:
        return any(run.work for run in self.runs)

    @property
    def true_end(self) -> int:
        if self.compiled:
            return 1 + max(at for at, run in enumerate(self.runs) if run.work)
        seen = [run.duration_s - (run.wait_s or 0.0) for run in self.runs]
        tail = median(seen[-len(seen) // 2 :])
        return next(at for at, value in enumerate(seen) if value <= 1.25 * tail)


def load(folder: Path) -> list[Series]:
    return [
        Series(name=path.stem, runs=list(runs_of(json.loads(path.read_text()))))
        for path in sorted(folder.glob("*.json"))
    ]


def runs_of(document: dict) -> Iterator[Run]:
    for at, (seconds, seen) in enumerate(zip(document["times"], document["events"], strict=True)):
        count = seen.get("graphs", 0) + seen.get("kernels", 0)
        waited = seen["main_wait"] / 1e9 if "main_wait" in seen else max(0.0, seconds - seen["cpu"])
        yield Run(
            phase=Phase.WARM if at else Phase.VALIDATE,
            index=at,
            started_at=0.0,
            duration_ns=round(seconds * 1e9),
            work=(OneTimeWork(kind="dynamo.capture", count=count),) if count else (),
            wait_s=waited,
        )


def mean_of(values: Iterable[float]) -> float:
    """Mean, or nan of nothing: a folder may hold no compiled series."""
    return statistics.fmean(given) if (given := list(values)) else math.nan


def middle_of(values: Iterable[float]) -> float:
    return median(given) if (given := list(values)) else math.nan


# ---------------------------------------------------------------------------------------------- the rules


def torch_iqr(runs: Sequence[Run]) -> Decision:
    """torch.utils.benchmark's adaptive_autorange: more than three values with IQR / median below 0.1."""
    seen = [run.duration_s for run in runs[-4:]]
    near = len(seen) > 3 and (quantile(seen, 0.75) - quantile(seen, 0.25)) / median(seen) < 0.1
    return Decision(state="proven" if near else "more")


def fixed(count: int) -> RuleLike:
    return lambda runs: Decision(state="spent" if len(runs) >= count else "more")


RULES: dict[str, RuleLike] = {
    "fixed 5": fixed(5),
    "1 + 5 (transformers)": fixed(6),
    "torch IQR < .1": torch_iqr,
    "until_steady": until_steady().with_hooks(True),
    "until_steady, strict": until_steady(strict=True).with_hooks(True),
}


@dataclass(frozen=True)
class Outcome:
    """Where a rule stopped, whether it proved anything, what end it told, and whether a compile fell into the measurement."""

    decided: bool
    stop: int
    end: int
    dirty: bool


def play(rule: RuleLike, series: Series, at_most: int = 30) -> Outcome:
    """The first decision, without re-arm; our rules tell an end afterwards, the others mean the one at which they stop."""
    stop = next((n for n in range(1, at_most + 1) if rule(series.runs[:n]).state != "more"), at_most)
    decision = rule(series.runs[:stop])
    end = int(decision.numbers.get("warmup_end", stop))
    return Outcome(
        decision.state != "more" and decision.path != "budget", stop, end, compiles(series.runs[stop : stop + MEASURED])
    )


def compiles(runs: Sequence[Run]) -> bool:
    return any(run.work for run in runs)


def re_armed(rule: RuleLike, series: Series) -> tuple[int, int, bool] | None:
    """With re-arm: runs in total, the end told, whether the last measurement holds a compile; None where the record ends."""
    history: list[Run] = []
    warming, measured = True, 0
    for run in series.runs:
        if warming:
            history.append(run)
            warming = rule(history).state == "more"
            measured = 0
            continue
        history.append(replace(run, phase=Phase.MEASURE))
        measured += 1
        if run.work:
            warming = rule(history).state == "more"
            measured = 0
        if measured == MEASURED:
            numbers = until_steady()(history[:-MEASURED]).numbers
            end = int(numbers.get("warmup_end", len(history) - MEASURED))
            return len(history), end, compiles(history[-MEASURED:])
    return None


def table_of_rules(all_series: Sequence[Series]) -> dict[str, float]:
    chosen = [series for series in all_series if not series.name.startswith(NEVER_AT_REST)]
    compiled = [series for series in chosen if series.compiled]
    print(
        f"1. End of warm-up: {len(chosen)} series ({len(compiled)} compiled), at most 30 runs, then {MEASURED} measured"
    )
    print(
        f"{'rule':<24}{'decided':>8}{'stop med/mean':>16}{'end error med/mean':>20}{'within 1':>10}{'compile in next 10':>20}"
    )
    near: dict[str, float] = {}
    for name, rule in RULES.items():
        seen = [(series, play(rule, series)) for series in chosen]
        stops = [out.stop for _, out in seen]
        errors = [abs(out.end - series.true_end) for series, out in seen]
        near[name] = mean_of(error <= 1 for error in errors)
        dirty = mean_of(out.dirty for series, out in seen if series.compiled)
        print(
            f"{name:<24}{mean_of(out.decided for _, out in seen):>8.2f}"
            f"{middle_of(stops):>9.1f} /{mean_of(stops):>5.1f}"
            f"{middle_of(errors):>13.1f} /{mean_of(errors):>5.1f}{near[name]:>10.2f}{dirty:>20.2f}"
        )
    return near | table_of_re_arm(chosen)


def table_of_re_arm(chosen: Sequence[Series]) -> dict[str, float]:
    done = [(series, out) for series in chosen if (out := re_armed(RULES["until_steady"], series)) is not None]
    errors = [abs(end - series.true_end) for series, (_, end, _) in done]
    dirty = sum(holds for _, (_, _, holds) in done)
    near = mean_of(error <= 1 for error in errors)
    print(f"\nuntil_steady with re-arm: {len(done)} of {len(chosen)} series finished 10 runs within their record")
    print(
        f"  measurements that hold a compile: {dirty}; end within 1 run: {near:.2f}; median error {middle_of(errors):.1f}"
    )
    for kind, part in (("compiled", True), ("eager", False)):
        totals = [total for series, (total, _, _) in done if series.compiled is part]
        print(f"  runs in total, {kind}: median {middle_of(totals):.0f}, mean {mean_of(totals):.1f} (transformers: 26)")
    decision = [would_have_said(series.runs[:6]).state == "proven" for series in chosen]
    print(f"  of '1 + 5' it would have said 'proven' in {sum(decision)} of {len(decision)}")
    return {"re-armed": near, "dirty": float(dirty)}


# ---------------------------------------------------------------------------------------------- the interval


@dataclass(frozen=True)
class Sample:
    """Neighbouring seconds, the long-run median they come from, and the share of them spent waiting for a processor."""

    seconds: list[float]
    truth: float
    share: float = 0.0


Draw = Callable[[random.Random, int], Sample]


def iid(chance: random.Random, size: int) -> Sample:
    return Sample([math.exp(0.1 * chance.gauss(0, 1)) for _ in range(size)], 1.0)


def autoregressive(chance: random.Random, size: int, rho: float = 0.5) -> Sample:
    state, values = chance.gauss(0, 1), []
    for _ in range(size):
        values.append(math.exp(0.1 * state))
        state = rho * state + math.sqrt(1 - rho * rho) * chance.gauss(0, 1)
    return Sample(values, 1.0)


def window_of(steady_parts: Sequence[Sequence[Run]]) -> Draw:
    """Neighbouring runs out of a steady part drawn at random; the truth is the median of that whole part."""

    def draw(chance: random.Random, size: int) -> Sample:
        part = chance.choice(steady_parts)
        first = chance.randrange(len(part) - size + 1)
        window = part[first : first + size]
        seconds = [run.duration_s for run in window]
        share = sum(run.wait_s or 0.0 for run in window) / sum(seconds)
        return Sample(seconds, median([run.duration_s for run in part]), share)

    return draw


def coverage(draw: Draw, size: int, times: int = 4000) -> tuple[float, float]:
    """How often the interval holds the truth, and its median width relative to it."""
    chance, held, widths = random.Random(1), 0, []
    for _ in range(times):
        drawn = draw(chance, size)
        interval = median_interval(drawn.seconds, contention_share=drawn.share)
        held += interval.low <= drawn.truth <= interval.high
        widths.append((interval.high - interval.low) / drawn.truth)
    return held / times, middle_of(widths)


def barrett_parts() -> list[list[Run]]:
    """The published steady parts."""
    documents = json.loads(BARRETT.read_text())
    parts = [given["series"][given["steady_start"] :] for given in documents if given["steady_start"] is not None]
    return [[a_run(seconds) for seconds in part] for part in parts]


def a_run(seconds: float) -> Run:
    return Run(phase=Phase.MEASURE, index=0, started_at=0.0, duration_ns=round(seconds * 1e9))


def contention(part: Sequence[Run]) -> float:
    return sum(run.wait_s or 0.0 for run in part) / sum(run.duration_s for run in part)


def table_of_intervals(all_series: Sequence[Series]) -> dict[str, float]:
    chosen = [series for series in all_series if not series.name.startswith(NEVER_AT_REST)]
    parts = [part for series in chosen if len(part := series.runs[series.true_end :]) >= max(SIZES)]
    busy = [part for part in parts if contention(part) > CONTENDED]
    sources: dict[str, Draw] = {
        "iid, 10 % spread": iid,
        "AR(0.5), 10 % spread": autoregressive,
        "Barrett 2017, 24 steady parts": window_of(barrett_parts()),
    }
    recorded = {
        f"recorded torch, {len(parts)} steady parts": parts,
        f"  {len(parts) - len(busy)} of them on a quiet host": [part for part in parts if part not in busy],
        f"  {len(busy)} of them on a busy host": busy,
    }
    sources |= {name: window_of(some) for name, some in recorded.items() if some}
    print("\n2. Coverage of the long-run median at nominal 0.95 (and median width)")
    found = {}
    for name, draw in sources.items():
        for size in SIZES:
            held, width = coverage(draw, size)
            found[f"{name}, m={size}"] = held
            print(f"{name:<34} m={size}: {held:.3f}   (width {width:.1%})")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="folder of series as in shared/data/torch_cpu")
    folder = parser.parse_args(arguments).folder
    if folder is None and not FOLDER.is_dir():
        print(f"{FOLDER} is absent: taking the copy in {SHIPPED}", file=sys.stderr)
        folder = SHIPPED
    folder = folder or FOLDER
    if not any(folder.glob("*.json")):
        print(f"no series in {folder}: give a folder of series such as {SHIPPED}", file=sys.stderr)
        return 2
    all_series = load(folder)
    print(f"series: {folder} ({len(all_series)})\n")
    table_of_rules(all_series)
    table_of_intervals(all_series)
    return 0


if __name__ == "__main__":
    sys.exit(main())
