"""
Does the rule find the end of warm-up, and does the interval hold what it promises?

    python tests/bench/steadiness.py [FOLDER] [--seed N] [--each N]

FOLDER holds recorded series (default: ../shared/data/torch_cpu, else the copy in tests/data). Planted series are drawn
anew for each seed.

1. Recorded series of torch on a shared CPU: where each rule stops warming up, how far the warm-up end that it tells lies
   from the true one, and whether a compile falls into the 10 runs measured afterwards. The true end of compiled series
   is the run after the last one that compiled; of eager ones the first run within 25 % of the tail, waits for a
   processor taken off. Series that never come to rest by construction (growing, step, cyclic) are left out.
2. Planted series: how often the end that is told at the first decision is within 1 or 2 runs, and how many rules stop
   before it. Rivals that tell no end are taken to mean the run at which they stop, or the first of their window.
3. What a user of `measure` gets: warm-up, 20 measured runs, re-arm; planted warm-ups without and with their causes
   seen, and how many series that never rest are called steady.
4. Intervals: how often they hold the long-run median, and how often where they state 95 %.
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
sys.path[:0] = [str(ROOT), str(HERE)]

from planted import AT_REST, NEVER, SPREADS, WARMING, Planted, rule_series  # noqa: E402 - after the path

from jitwarmup.analysis.audit import audit  # noqa: E402 - after the path
from jitwarmup.analysis.stats import CONTENDED, cov, median_interval, quantile  # noqa: E402 - after the path
from jitwarmup.engine.rules import RuleLike, until_steady, would_have_said  # noqa: E402 - after the path
from jitwarmup.engine.steps import plan_steps  # noqa: E402 - after the path
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


def windowed(width: int, at_rest: Callable[[list[float]], bool]) -> RuleLike:
    """Proven as soon as the newest ``width`` seconds are at rest; the end told is where they begin."""

    def rule(runs: Sequence[Run]) -> Decision:
        newest = [run.duration_s for run in runs[-width:]]
        proven = len(newest) == width and at_rest(newest)
        return Decision(state="proven" if proven else "more", numbers={"warmup_end": max(0, len(runs) - width)})

    return rule


def georges(most: float) -> RuleLike:
    """Georges et al. 2007: the coefficient of variation of five."""
    return windowed(5, lambda newest: cov(newest) < most)


def perf_analyzer(runs_each: int) -> RuleLike:
    """Triton's perf_analyzer: three windows, each within 10 % of their mean."""

    def stable(newest: list[float]) -> bool:
        means = [statistics.fmean(newest[at : at + runs_each]) for at in range(0, len(newest), runs_each)]
        return all(abs(mean / statistics.fmean(means) - 1) <= 0.1 for mean in means)

    return windowed(3 * runs_each, stable)


def pyperf(size: int) -> RuleLike:
    """pyperf's calibration of warm-ups: two samples in a row that agree in mean, quartiles and spread."""

    def agree(newest: list[float]) -> bool:
        one, two = newest[:size], newest[size:]
        low, high = quantile(one, 0.25), quantile(one, 0.75)
        if one[0] > high + 1.5 * (high - low):
            return False
        mean = statistics.fmean(two) / statistics.fmean(one) - 1
        near = all(abs(quantile(two, part) / quantile(one, part) - 1) <= 0.05 for part in (0.25, 0.75))
        return -0.5 <= mean <= 0.1 and near and abs(mad(two) - mad(one)) <= 0.1 * mad(one)

    return windowed(2 * size, agree)


def mad(values: Sequence[float]) -> float:
    return median([abs(value - median(values)) for value in values])


def mser(runs: Sequence[Run]) -> Decision:
    """Marginal standard error: the end that makes the mean of the rest surest, once it lies in the first half."""
    seen = [run.duration_s for run in runs]
    if len(seen) < 6:
        return Decision(state="more")
    ends = range(len(seen) - 2)
    end = min(ends, key=lambda at: statistics.pvariance(seen[at:]) / (len(seen) - at))
    return Decision(state="proven" if end < len(seen) // 2 else "more", numbers={"warmup_end": end})


def laaber(runs: Sequence[Run]) -> Decision:
    """Laaber et al. 2020, simplified: the variation of windows of five has settled."""
    seen = [run.duration_s for run in runs]
    spreads = [cov(seen[at - 5 : at]) for at in range(max(5, len(seen) - 4), len(seen) + 1)]
    settled = len(spreads) == 5 and max(spreads) - min(spreads) < 0.01
    return Decision(state="proven" if settled else "more")


def nvbench(runs: Sequence[Run]) -> Decision:
    """nvbench's stdrel: after one cold run, at least ten whose standard deviation is below half a percent."""
    seen = [run.duration_s for run in runs[1:]]
    return Decision(state="proven" if len(seen) >= 10 and cov(seen) < 0.005 else "more")


RULES: dict[str, RuleLike] = {
    "fixed 5": fixed(5),
    "fixed 10": fixed(10),
    "1 + 5 (transformers)": fixed(6),
    "torch IQR < .1": torch_iqr,
    "perf_analyzer 3x1": perf_analyzer(1),
    "perf_analyzer 3x3": perf_analyzer(3),
    "Georges .02": georges(0.02),
    "Georges .05": georges(0.05),
    "pyperf 5+5": pyperf(5),
    "nvbench stdrel": nvbench,
    "Laaber CV": laaber,
    "MSER": mser,
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


# ---------------------------------------------------------------------------------------------- planted series


def series_of(planted: Planted, *, causes: bool = False) -> Series:
    """A planted series as runs; with ``causes`` a recompile is seen in each run after which the level changes."""
    runs = []
    for at, seconds in enumerate(planted.seconds):
        run = a_run(seconds, Phase.WARM if at else Phase.VALIDATE, wait_s=0.0)
        paid = causes and at in planted.changes
        runs.append(replace(run, work=(OneTimeWork(kind="dynamo.recompile"),), contaminated=True) if paid else run)
    return Series(planted.shape, runs)


def table_of_planted(seed: int, each: int) -> dict[str, float]:
    resting, warming = list(rule_series(AT_REST, each, seed)), list(rule_series(WARMING, each, seed))
    print(f"\n2. Planted series of seed {seed}: {len(resting)} at rest from the first run, {len(warming)} that warm up")
    print(
        f"{'rule':<24}{'at rest: <=1':>14}{'stop':>7}{'warming: <=1 / <=2':>20}{'early':>8}   early by noise: {' '.join(SPREADS)}"
    )
    found = {}
    for name, rule in RULES.items():
        rested = [play(rule, series_of(one)) for one in resting]
        warmed = [(one, play(rule, series_of(one))) for one in warming]
        errors = [abs(out.end - one.end) for one, out in warmed]
        early = [out.stop < one.end for one, out in warmed]
        by_noise = [
            mean_of(late for (one, _), late in zip(warmed, early, strict=True) if one.noise == noise)
            for noise in SPREADS
        ]
        found[name] = mean_of(error <= 1 for error in errors)
        print(
            f"{name:<24}{mean_of(out.end <= 1 for out in rested):>14.2f}{mean_of(out.stop for out in rested):>7.1f}"
            f"{found[name]:>13.2f} / {mean_of(error <= 2 for error in errors):.2f}{mean_of(early):>8.2f}"
            f"{'':>19}{' '.join(f'{part:.2f}' for part in by_noise)}"
        )
    return found


@dataclass(frozen=True)
class Measurement:
    """What came of a measurement played from a series: when its kept runs begin, its runs in all, the end and the state told."""

    began: int
    total: int
    end: int
    state: str


def measure(rule: RuleLike, series: Series, wanted: int = 20) -> Measurement | None:
    """The plan of the engine, answered from a series; None where the series is too short for it."""
    history: list[Run] = []
    steps = plan_steps(rule, wanted, redo=True, proof=True)
    try:
        step = next(steps)
        while True:
            if step.rearm:
                history = [replace(run, discarded=run.discarded or run.phase is Phase.MEASURE) for run in history]
            if len(history) == len(series.runs):
                return None
            given = series.runs[len(history)]
            run = replace(given, phase=step.phase, contaminated=given.contaminated and step.phase is Phase.MEASURE)
            history.append(run)
            step = steps.send(run)
    except StopIteration as stop:
        began = len(history) - wanted
        state = audit(history, watched=("planted",)).state
        return Measurement(began, len(history), int(stop.value.numbers.get("warmup_end", began)), state)


def steady_in(rule: RuleLike, planted: Iterable[Planted]) -> list[bool]:
    """Which series without a steady state are called steady; a step counts where it falls into the measured runs."""
    played = [(one, out) for one in planted if (out := measure(rule, series_of(one))) is not None]
    met = [out for one, out in played if all(out.began <= at <= out.total - 5 for at in one.changes)]
    return [out.state == "steady" for out in met]


def table_of_measurements(seed: int, each: int) -> dict[str, float]:
    size = 120  # so that a second attempt fits in
    ours = {name: rule for name, rule in RULES.items() if name.startswith("until_steady")}
    print(f"\n3. Measured with re-arm, 20 runs, planted series of seed {seed}")
    print(
        f"{'rule':<24}{'end within 1':>14}{'early':>8}{'runs':>7}   with causes: within 1, early; never at rest, called steady: {', '.join(NEVER)}"
    )
    found = {}
    for name, rule in ours.items():
        warming = list(rule_series(WARMING, each, seed, size))
        alone = [(one, out) for one in warming if (out := measure(rule, series_of(one)))]
        seen = [(one, out) for one in warming if (out := measure(rule, series_of(one, causes=True)))]
        near, caused = ([abs(out.end - one.end) <= 1 for one, out in some] for some in (alone, seen))
        early, early_caused = ([out.began < one.end for one, out in some] for some in (alone, seen))
        never = [steady_in(rule, rule_series((shape,), each, seed, size)) for shape in NEVER]
        found |= {f"{name}, alone": mean_of(near), f"{name}, early": mean_of(early), f"{name}, causes": mean_of(caused)}
        found[f"{name}, never"] = mean_of([called for some in never for called in some])
        print(
            f"{name:<24}{mean_of(near):>14.2f}{mean_of(early):>8.2f}{mean_of(out.total for _, out in alone):>7.1f}"
            f"{mean_of(caused):>17.2f}{mean_of(early_caused):>8.2f}{'':>38}{', '.join(f'{mean_of(some):.2f}' for some in never)}"
        )
    return found


# ---------------------------------------------------------------------------------------------- the interval


@dataclass(frozen=True)
class Sample:
    """Neighbouring seconds, the long-run median they come from, and the share of them spent waiting for a processor."""

    seconds: list[float]
    truth: float
    share: float = 0.0


Draw = Callable[[random.Random, int], Sample]


def autoregressive(rho: float, spread: float = 0.10) -> Draw:
    """Neighbours correlated by ``rho``; 0 for independent ones."""

    def draw(chance: random.Random, size: int) -> Sample:
        state, values = chance.gauss(0, 1), []
        for _ in range(size):
            values.append(math.exp(spread * state))
            state = rho * state + math.sqrt(1 - rho * rho) * chance.gauss(0, 1)
        return Sample(values, 1.0)

    return draw


def bimodal(chance: random.Random, size: int, *, stays: tuple[float, float] = (0.6, 0.4)) -> Sample:
    """Two modes, 1 and 1.3, of which the first has 60 %; ``stays``: how likely each mode is to go on."""
    fast, values = chance.random() < 0.6, []
    for _ in range(size):
        values.append((1.0 if fast else 1.3) * math.exp(0.02 * chance.gauss(0, 1)))
        fast = chance.random() < stays[0] if fast else chance.random() >= stays[1]
    return Sample(values, math.exp(0.02 * statistics.NormalDist().inv_cdf(0.5 / 0.6)))


def sticky(chance: random.Random, size: int) -> Sample:
    return bimodal(chance, size, stays=(1 - 0.2 / 1.5, 0.8))


def heavy(chance: random.Random, size: int) -> Sample:
    return Sample([1 + 0.05 * chance.paretovariate(1.5) for _ in range(size)], 1 + 0.05 * 2 ** (1 / 1.5))


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


@dataclass(frozen=True)
class Coverage:
    """How often intervals hold the truth, the level they state, their width; and of those that state 95 % the share and coverage."""

    held: float
    level: float
    width: float
    sure: float
    held_where_sure: float


def coverage(draw: Draw, size: int, times: int = 1500, seed: int = 1) -> Coverage:
    chance, held, sure, levels, widths = random.Random(seed), [], [], [], []
    for _ in range(times):
        drawn = draw(chance, size)
        interval = median_interval(drawn.seconds, contention_share=drawn.share)
        held.append(interval.low <= drawn.truth <= interval.high)
        levels.append(interval.level)
        widths.append((interval.high - interval.low) / drawn.truth)
        if interval.level >= 0.95:
            sure.append(held[-1])
    return Coverage(mean_of(held), mean_of(levels), middle_of(widths), len(sure) / times, mean_of(sure))


def barrett_parts() -> list[list[Run]]:
    """The published steady parts."""
    documents = json.loads(BARRETT.read_text())
    parts = [given["series"][given["steady_start"] :] for given in documents if given["steady_start"] is not None]
    return [[a_run(seconds) for seconds in part] for part in parts]


def a_run(seconds: float, phase: Phase = Phase.MEASURE, wait_s: float | None = None) -> Run:
    return Run(phase=phase, index=0, started_at=0.0, duration_ns=round(seconds * 1e9), wait_s=wait_s)


def contention(part: Sequence[Run]) -> float:
    return sum(run.wait_s or 0.0 for run in part) / sum(run.duration_s for run in part)


def table_of_intervals(all_series: Sequence[Series], seed: int = 1, times: int = 1500) -> dict[str, Coverage]:
    chosen = [series for series in all_series if not series.name.startswith(NEVER_AT_REST)]
    parts = [part for series in chosen if len(part := series.runs[series.true_end :]) >= max(SIZES)]
    busy = [part for part in parts if contention(part) > CONTENDED]
    sources: dict[str, Draw] = {
        "iid, 2 % spread": autoregressive(0.0, 0.02),
        "iid, 10 % spread": autoregressive(0.0),
        "AR(0.3), 10 % spread": autoregressive(0.3),
        "AR(0.6), 10 % spread": autoregressive(0.6),
        "AR(0.9), 10 % spread": autoregressive(0.9),
        "bimodal 60/40": bimodal,
        "bimodal, sticky": sticky,
        "heavy tail": heavy,
        "Barrett 2017, 24 steady parts": window_of(barrett_parts()),
    }
    recorded = {
        f"recorded torch, {len(parts)} steady parts": parts,
        f"  {len(parts) - len(busy)} of them on a quiet host": [part for part in parts if part not in busy],
        f"  {len(busy)} of them on a busy host": busy,
    }
    sources |= {name: window_of(some) for name, some in recorded.items() if some}
    print(
        "\n4. Coverage of the long-run median: held (mean level stated), median width; of those that state 95 %: share, held"
    )
    found = {}
    for name, draw in sources.items():
        for size in SIZES if name in recorded else (*SIZES, 50):
            one = found[f"{name}, m={size}"] = coverage(draw, size, times, seed)
            print(
                f"{name:<34} m={size}: {one.held:.3f} ({one.level:.3f}), width {one.width:.1%}"
                f"   95 %: {one.sure:.2f}, {one.held_where_sure:.3f}"
            )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="folder of series as in shared/data/torch_cpu")
    parser.add_argument("--seed", type=int, default=1, help="of the planted series")
    parser.add_argument("--each", type=int, default=20, help="planted series of each shape and noise")
    given = parser.parse_args(arguments)
    folder = given.folder
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
    table_of_planted(given.seed, given.each)
    table_of_measurements(given.seed, given.each)
    table_of_intervals(all_series, given.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
