"""
What the GPU monitor gives and what it costs, over the simulated driver; prints tables. No GPU is needed.

    python tests/bench/monitor.py                 all of it
    python tests/bench/monitor.py energy faults   parts: energy, throttle, faults, cost
"""

import argparse
import bisect
import math
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from jitwarmup.gpu.monitor import GPUMonitor
from jitwarmup.records.runs import DeviceReading
from jitwarmup.testing.nvmlsim import NoCompiler, Simulation, build

WINDOWS_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0)


# ---------------------------------------------------------------------------------------------------------- energy


class Trace:
    """The standard trace: 120-700 W, random steps of 5-60 ms, played into the simulation as far as time goes."""

    def __init__(self, sim, seed):
        self._sim = sim
        self._random = random.Random(seed)
        self._next_s = sim.now_s
        self.times, self.watts = [], []

    def advance(self, seconds):
        until = self._sim.now_s + seconds
        while self._next_s <= until + 1:  # ahead, since the monitor may wait for a sample
            self.times.append(self._next_s)
            self.watts.append(self._random.uniform(120, 700))
            self._sim.set("power_w", self.watts[-1], at_s=self._next_s)
            self._next_s += self._random.uniform(0.005, 0.06)
        self._sim.advance(until - self._sim.now_s)

    def at(self, second):
        return self.watts[bisect.bisect_right(self.times, second) - 1]


def polled_j(trace, sim, begin, end, hertz, *, averaged):
    """What a 20 Hz poller makes of the window: a trapezoid over instant power, or over a mean of the last second."""
    ticks = [begin + k / hertz for k in range(int((end - begin) * hertz) + 1)]
    seen = [sim.integral("power_w", t - 1, t) if averaged else trace.at(t) for t in ticks]
    if len(seen) == 1:
        return seen[0] * (end - begin)
    whole = sum((b - a) * (x + y) / 2 for a, b, x, y in zip(ticks, ticks[1:], seen, seen[1:], strict=False))
    return whole + (end - ticks[-1]) * seen[-1]


def counted_j(sim, begin, end, step=0.1):
    """What two reads of the energy counter make of it."""
    return sim.integral("power_w", math.floor(begin / step + 1e-9) * step, math.floor(end / step + 1e-9) * step)


def energy_window(sim, seconds, seed, name="measure"):
    """One warm-up of 1.5 s and twenty windows, as in a measurement, on a fresh trace; yields (reading, truth, other methods) for each."""
    chance = random.Random(-seed)
    sim.gpus(1, at_s=1_000 + random.Random(seed).uniform(0, 0.1))
    gpu = sim.adopt(GPUMonitor())
    trace = Trace(sim, seed)
    trace.advance(1.0)
    with gpu:
        with gpu.paused():
            trace.advance(1.5)
        for _ in range(20):
            trace.advance(chance.uniform(0.001, 0.03))
            with gpu.window(name) as window:
                begin = sim.now_s
                trace.advance(seconds * chance.uniform(0.95, 1.05))  # no multiple of anybody's period
                end = sim.now_s
            others = {
                "counter delta": counted_j(sim, begin, end),
                "poll 20 Hz, 1 s mean": polled_j(trace, sim, begin, end, 20, averaged=True),
                "poll 20 Hz, instant": polled_j(trace, sim, begin, end, 20, averaged=False),
            }
            yield window.reading, sim.integral("power_w", begin, end), others


def energy_errors(sim, seconds, windows, name="measure"):
    """Relative errors by method, how many of ours were out of their bound, and our mean bound."""
    errors, outside, bounds = {}, 0, []
    seed = 0
    while len(errors.get("ours", ())) < windows:
        seed += 1
        for reading, truth, others in energy_window(sim, seconds, seed, name):
            for method, joules in {"ours": reading.energy_j, **others}.items():
                if joules is not None:
                    errors.setdefault(method, []).append((joules - truth) / truth)
            if reading.energy_j is not None:
                outside += abs(reading.energy_j - truth) > reading.energy_error_j + 1e-9
                bounds.append(reading.energy_error_j / truth)
    return errors, outside, statistics.mean(bounds)


def rms(values):
    return math.sqrt(sum(value * value for value in values) / len(values))


def show_energy(sim, windows=200):
    print("\nEnergy of a window against the truth: RMS error % (largest), 120-700 W in steps of 5-60 ms")
    methods = ("counter delta", "poll 20 Hz, 1 s mean", "poll 20 Hz, instant", "ours")
    print(f"{'window':>8} {'':>7}" + "".join(f"{method:>24}" for method in methods) + "   stated bound   outside it")
    for name in ("measure", "call"):
        for seconds in WINDOWS_S:
            errors, outside, bound = energy_errors(sim, seconds, windows, name)
            cells = [f"{100 * rms(errors[m]):.2f} ({100 * max(map(abs, errors[m])):.1f})" for m in methods]
            row = "".join(f"{cell:>24}" for cell in cells)
            print(f"{seconds:>7}s {name:>7}{row}   {100 * bound:>10.2f} %   {outside} of {len(errors['ours'])}")


def show_throttle(sim, windows=200):
    errors = []
    chance = random.Random(5)
    for _ in range(windows):
        sim.gpus(1, at_s=1_000 + chance.uniform(0, 0.1))
        gpu = sim.adopt(GPUMonitor())
        with gpu, gpu.window("measure") as window:
            held = chance.uniform(0.01, 2)
            sim.advance(chance.uniform(0, 0.5))
            sim.set("limit_power", 1)
            sim.advance(held)
            sim.set("limit_power", 0)
            sim.advance(chance.uniform(0, 0.5))
        errors.append(abs(window.reading.throttled_s["power"] - held))
    worst, mean = 1e3 * max(errors), 1e3 * statistics.mean(errors)
    print(
        f"\nThrottled seconds from two reads, {windows} windows: off by {mean:.0f} ms in the mean, {worst:.0f} ms at most"
    )


# ---------------------------------------------------------------------------------------------------------- faults

ERRORS = [
    "INVALID_ARGUMENT",
    "NOT_SUPPORTED",
    "NO_PERMISSION",
    "NOT_FOUND",
    "INSUFFICIENT_SIZE",
    "DRIVER_NOT_LOADED",
    "TIMEOUT",
    "LIBRARY_NOT_FOUND",
    "FUNCTION_NOT_FOUND",
    "GPU_IS_LOST",
    "RESET_REQUIRED",
    "LIB_RM_VERSION_MISMATCH",
    "IN_USE",
    "UNKNOWN",
    "UNINITIALIZED",
]
BEHAVIOURS = ("hang", "slow 200 ms")
FUNCTIONS = (
    "nvmlInitWithFlags",
    "nvmlShutdown",
    "nvmlDeviceGetCount_v2",
    "nvmlDeviceGetHandleByIndex_v2",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetName",
    "nvmlDeviceGetFieldValues",
    "field 83",
    "nvmlDeviceGetSamples",
    "nvmlDeviceGetTemperatureV",
    "nvmlDeviceGetClockInfo",
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlGpmSampleGet",
    "nvmlGpmMetricsGet",
    "*",
)
PHASES = ("start", "region", "pause")


def gaps_without_reason(reading):
    """Fields of a reading that are empty and do not say why, and values that cannot be true."""
    if {"device", "window"} & reading.missing.keys():
        return []
    wrong = []
    for name in DeviceReading.__dataclass_fields__:
        value = getattr(reading, name)
        empty = value is None or (isinstance(value, tuple) and None in value) or (name == "throttled_s" and not value)
        if empty and name not in reading.missing:
            wrong.append(name)
    return wrong + [name for name in ("energy_j", "power_mean_w", "sm_clock_max_mhz") if getattr(reading, name) == 0]


def apply(sim, function, error):
    if error == "hang":
        sim.fault(function, hang=True)
    elif error == "slow 200 ms":
        sim.fault(function, delay_s=0.2)
    else:
        sim.fault(function, error)


class Cell:
    """One schedule with one fault in it, and what it did: seconds in the monitor, the longest wait, what went wrong."""

    def __init__(self, sim, fault, *, phase, timeout_s):
        self.sim, self.fault, self.phase = sim, fault, phase
        sim.gpus(1)
        self.gpu = sim.adopt(GPUMonitor(timeout_s=timeout_s))
        self.spent = self.longest = 0.0
        self.wrong = []

    def step(self, what, job):
        before = time.perf_counter()
        try:
            return job()
        except Exception as raised:
            self.wrong.append(f"{what} raised {type(raised).__name__}")
        finally:
            took = time.perf_counter() - before
            self.spent += took
            self.longest = max(self.longest, took)

    def reach(self, phase):
        if phase == self.phase:
            apply(self.sim, *self.fault)

    def window(self):
        window = self.gpu.window("measure")
        self.step("enter", window.__enter__)
        self.reach("region")
        self.sim.advance(0.2)
        self.step("leave", lambda: window.__exit__(None, None, None))
        if isinstance(window.reading, DeviceReading):
            self.wrong += gaps_without_reason(window.reading)
        else:
            self.wrong.append("no reading")

    def run(self):
        self.reach("start")
        self.step("start", self.gpu.start)
        self.window()
        self.reach("pause")
        self.step("pause", self.gpu.pause)
        self.sim.advance(1.5)
        self.step("resume", self.gpu.resume)
        self.window()
        self.step("stop", self.gpu.stop)
        self.sim.heal()
        return self


def fault_table(sim, functions, *, timeout_s=0.06, phases=PHASES):
    """Every error of every function in every phase; yields (function, cells) with the cells done."""
    for function in functions:
        yield (
            function,
            [
                Cell(sim, (function, error), phase=phase, timeout_s=timeout_s).run()
                for error in (*ERRORS, *BEHAVIOURS)
                for phase in phases
            ],
        )


def show_faults(sim, timeout_s=0.3):
    print(
        f"\nFaults: {len(ERRORS)} errors, a hang, and 200 ms calls, in {len(PHASES)} phases; timeout_s = {timeout_s} s"
    )
    print("added: the most that start, two windows, pause, resume and stop took together, with an error or a hang")
    print("longest: the longest single wait of all, 200 ms calls included")
    print(f"{'function':>42} {'cells':>6} {'added':>9} {'longest':>9}  wrong")
    total, bad = 0, 0
    for function, cells in fault_table(sim, FUNCTIONS, timeout_s=timeout_s):
        wrong = [f"{cell.fault[1]}/{cell.phase}: {what}" for cell in cells for what in cell.wrong]
        added = max(cell.spent for cell in cells if cell.fault[1] != "slow 200 ms")
        longest = max(cell.longest for cell in cells)
        print(f"{function:>42} {len(cells):>6} {added:>7.3f} s {longest:>7.3f} s  {wrong or 'nothing'}")
        total, bad = total + len(cells), bad + len(wrong)
    print(f"{total} cells, {bad} wrong (an exception, a reading missing, or a gap without a reason)")


# ---------------------------------------------------------------------------------------------------------- cost


def quantiles(values, unit=1e6):
    ordered = sorted(values)
    return tuple(unit * ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.99))


def timed(job):
    before = time.perf_counter()
    job()
    return time.perf_counter() - before


def show_calls(sim):
    """Start, pause, edges: what the caller waits for."""
    print("\nWhat the caller waits for, in us: median (99 %); the simulation answers in about 1 us a call")
    sim.gpus(1)
    sim.host_clock()
    starts, pauses, resumes, begins, ends = [], [], [], [], []
    for _ in range(5):
        gpu = GPUMonitor(timeout_s=5)
        starts.append(timed(gpu.start))
        for _ in range(200):
            pauses.append(timed(gpu.pause))
            resumes.append(timed(gpu.resume))
            window = gpu.window("call")
            begins.append(timed(window.__enter__))
            ends.append(timed(lambda window=window: window.__exit__(None, None, None)))
        gpu.stop()
        sim.forget_calls()
    print(f"  start {1e3 * statistics.median(starts):.1f} ms", end="")
    for name, values in (("pause", pauses), ("resume", resumes), ("edge before", begins), ("edge after", ends)):
        print(f", {name} %.0f (%.0f)" % quantiles(values), end="")
    print()


def work(units):
    total = 0
    for number in range(units):
        total += number * number % 7
    return total


def hf_sampler(pipe, period_s):
    """The shape of transformers' benchmark_v2: a process per measured iteration that samples at 50 ms."""
    import pynvml

    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    pipe.send(0)
    samples = []
    while not pipe.poll(timeout=period_s):
        samples.append((pynvml.nvmlDeviceGetUtilizationRates(handle).gpu, pynvml.nvmlDeviceGetMemoryInfo(handle).used))
    pynvml.nvmlShutdown()
    pipe.send(samples)


def hf_run(units):
    ours, its = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=hf_sampler, args=(its, 0.05))
    process.start()
    ours.recv()
    before = time.perf_counter()
    work(units)
    took = time.perf_counter() - before
    ours.send(0)
    ours.recv()
    process.join()
    return took


def monitored_run(gpu, units, name):
    with gpu.window(name):
        before = time.perf_counter()
        work(units)
        return time.perf_counter() - before


def show_cost(sim, rounds=60, hf_rounds=15):
    """The same work, turn by turn and in changing order: alone, in windows of the monitor, with a process each time."""
    sim.gpus(1)
    sim.host_clock()
    sim.fault("nvmlDeviceGetSamples", delay_s=0.0005)  # real calls are not free
    sim.fault("nvmlDeviceGetFieldValues", delay_s=0.0002)
    units = 100_000
    units = round(units * 0.1 / statistics.median(timed(lambda: work(units)) for _ in range(5)))
    with GPUMonitor() as gpu:
        arms = {
            "alone": lambda: timed(lambda: work(units)),
            "measure": lambda: monitored_run(gpu, units, "measure"),
            "plain call": lambda: monitored_run(gpu, units, "call"),
            "a process per run": lambda: hf_run(units),
        }
        inside, wall = {arm: [] for arm in arms}, {arm: [] for arm in arms}
        chance = random.Random(3)
        for turn in range(rounds):
            for arm in chance.sample(list(arms), len(arms)):
                if arm == "a process per run" and turn >= hf_rounds:
                    continue
                before = time.perf_counter()
                inside[arm].append(arms[arm]())
                wall[arm].append(time.perf_counter() - before)
    base = statistics.median(inside["alone"])
    print(
        f"\nA run of {1e3 * base:.0f} ms, {rounds} turns ({hf_rounds} with a process each); median against the run alone"
    )
    for arm in arms:
        within = 100 * (statistics.median(inside[arm]) / base - 1)
        noise = 100 * statistics.stdev(inside[arm]) / math.sqrt(len(inside[arm])) / base
        around = [1e3 * (whole - run) for whole, run in zip(wall[arm], inside[arm], strict=True)]
        print(
            f"  {arm:>18}: the run itself {within:+.1f} +- {noise:.1f} %, around it {statistics.median(around):.2f} ms"
        )


PARTS = {
    "energy": (show_energy,),
    "throttle": (show_throttle,),
    "faults": (show_faults,),
    "cost": (show_calls, show_cost),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    chosen = parser.parse_args().parts or list(PARTS)
    directory = Path(tempfile.mkdtemp(prefix="jitwarmup-bench-"))
    try:
        sim = Simulation(build(directory), directory / "machine")
    except NoCompiler as missing:
        sys.exit(str(missing))
    import pynvml

    sim.bind(pynvml)
    os.environ.update({name: sim.environment()[name] for name in ("LD_LIBRARY_PATH", "NVMLSIM_CTL")})
    for part in chosen:
        for show in PARTS[part]:
            show(sim)


if __name__ == "__main__":
    main()
