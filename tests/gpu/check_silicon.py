"""
What only a real GPU can tell: the driver's sample ring, its counters' steps, what calls cost, and whether it all agrees.

    python tests/gpu/check_silicon.py              figures, and 0 when everything agrees; 4 without a GPU
    python tests/gpu/check_silicon.py --demo       also `python -m jitwarmup demo`

Nothing is changed on the device; the load, where torch has CUDA, is matrix products for some seconds.
"""

import argparse
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from itertools import pairwise

from jitwarmup import GPUMonitor
from jitwarmup.gpu.binding import Binding, Clocks, Refused, Unavailable, load
from jitwarmup.gpu.devices import Wanted, resolve
from jitwarmup.gpu.energy import COUNTER_STEP_S, clock_of

NO_GPU = 4
FIELDS = [*range(74, 84), *range(185, 193)]


def announce(what, result):
    print(f"{what:<44} {result}", flush=True)


def spread(values, unit=1e6, name="us"):
    ordered = sorted(values)
    middle, late = ordered[len(ordered) // 2], ordered[int(0.99 * (len(ordered) - 1))]
    return f"{unit * middle:.1f} {name} (99 %: {unit * late:.1f})"


def timed(job):
    before = time.perf_counter()
    job()
    return time.perf_counter() - before


def load_for(seconds):
    """Keep the GPU busy; what the load is."""
    try:
        import torch
    except ImportError:
        torch = None
    if torch is None or not torch.cuda.is_available():
        time.sleep(seconds)
        return "none (torch has no CUDA here): the figures are of an idle GPU"
    matrix = torch.randn(4096, 4096, device="cuda", dtype=torch.float16)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(20):
            matrix @ matrix
        torch.cuda.synchronize()
    return "matrix products 4096x4096 fp16"


def show_device(binding, device):
    announce("device", device.name)
    announce("driver, binding", f"{binding.ask('nvmlSystemGetDriverVersion')}, nvidia-ml-py {version('nvidia-ml-py')}")
    announce(
        "MIG, power limit, SM clock at most",
        f"{device.shared}, {device.power_limit_w} W, {device.sm_clock_max_mhz} MHz",
    )
    answers = binding.ask("nvmlDeviceGetFieldValues", device.handle, [(number, 0) for number in FIELDS])
    result = [answer.fieldId for answer in answers if not answer.nvmlReturn]
    refused = {answer.fieldId: binding.code(answer.nvmlReturn) for answer in answers if answer.nvmlReturn}
    announce("fields told", result)
    announce("fields refused", refused)


def show_ring(binding, device):
    """Period, depth and clock of the ring; how late a sample is published."""
    try:
        _, samples = binding.ask("nvmlDeviceGetSamples", device.handle, 0, 0)
    except Refused as refused:
        announce("ring", refused.code)
        return
    stamps = [int(sample.timeStamp) for sample in samples]
    gaps = [(b - a) / 1e3 for a, b in pairwise(stamps)]
    announce("ring: samples, seconds", f"{len(stamps)}, {(stamps[-1] - stamps[0]) / 1e6:.2f}")
    announce("ring: period", f"{statistics.median(gaps):.2f} ms, {min(gaps):.2f} to {max(gaps):.2f}")
    clocks = Clocks().stamps_ns()
    name = clock_of(stamps[-1] * 1000, clocks)
    announce("ring: clock", name or f"none fits: {stamps[-1]} us")
    if name:
        ages = []
        for _ in range(200):
            _, samples = binding.ask("nvmlDeviceGetSamples", device.handle, 0, 0)
            ages.append((Clocks().stamps_ns()[name] - int(samples[-1].timeStamp) * 1000) / 1e6)
            time.sleep(0.001)
        announce("ring: age of the newest sample", f"{min(ages):.1f} to {max(ages):.1f} ms")


def show_steps(binding, device):
    """When the energy counter moves."""
    ticks, last = [], None
    end = time.perf_counter() + 3
    while time.perf_counter() < end:
        counter = binding.ask("nvmlDeviceGetTotalEnergyConsumption", device.handle)
        if counter != last:
            ticks.append(time.perf_counter())
            last = counter
    steps = [b - a for a, b in pairwise(ticks[1:])]
    if not steps:
        announce("energy counter", "did not move in 3 s")
        return False
    step = statistics.median(steps)
    announce("energy counter: step", f"{1e3 * step:.1f} ms, {1e3 * min(steps):.1f} to {1e3 * max(steps):.1f}")
    fits = step <= 1.1 * COUNTER_STEP_S
    announce("energy counter: within the stated bound", "yes" if fits else f"NO: the code supposes {COUNTER_STEP_S} s")
    return fits


def show_costs(binding, device):
    handle = device.handle
    calls = {
        "8 fields": ("nvmlDeviceGetFieldValues", handle, [(number, 0) for number in (*range(74, 80), 83, 186)]),
        "temperature": ("nvmlDeviceGetTemperature", handle, 0),
        "SM clock": ("nvmlDeviceGetClockInfo", handle, 1),
        "memory": ("nvmlDeviceGetMemoryInfo", handle),
        "limits in force": ("nvmlDeviceGetCurrentClocksEventReasons", handle),
        "processes": ("nvmlDeviceGetComputeRunningProcesses", handle),
        "ring": ("nvmlDeviceGetSamples", handle, 0, 0),
    }
    for name, call in calls.items():
        try:
            announce(
                f"cost of a call: {name}", spread([timed(lambda call=call: binding.ask(*call)) for _ in range(300)])
            )
        except Refused as refused:
            announce(f"cost of a call: {name}", refused.code)


def show_monitor():
    """Edges and pauses of the monitor itself, and one loaded window of 1 s after a warm-up of 2 s."""
    result = []
    gpu = GPUMonitor(timeout_s=10)
    gpu.on_degraded = lambda metric, reason: result.append((metric, reason))
    announce("monitor: start", f"{1e3 * timed(gpu.start):.1f} ms")
    begins, ends, pauses = [], [], []
    for _ in range(200):
        window = gpu.window("call")
        begins.append(timed(window.__enter__))
        ends.append(timed(lambda window=window: window.__exit__(None, None, None)))
        pauses.append(timed(gpu.pause))
        gpu.resume()
    announce("monitor: edge before, after, pause", f"{spread(begins)}, {spread(ends)}, {spread(pauses)}")
    with gpu.paused():
        what = load_for(2.0)
    announce("monitor: load", what)
    sources = []
    for seconds in (0.1, 0.5, 1.0, 5.0):
        with gpu.window("measure") as window:
            load_for(seconds)
        reading = window.reading
        sources.append(reading.energy_source)
        energy = (
            "none" if reading.energy_j is None else f"{reading.energy_j:.2f} J +- {reading.energy_error_j or 0:.2f}"
        )
        announce(f"monitor: {seconds} s window", f"{energy} by {reading.energy_source}, status {reading.status}")
    announce("monitor: the last reading", reading)
    check = gpu._link.reader._readers[0].power.counter_check.last
    announce(
        "ring against counter", check and f"{100 * check.off:+.1f} % over {check.span_s:.1f} s, agrees: {check.agrees}"
    )
    announce("monitor: degraded", result or "nothing")
    gpu.stop()
    return any(sources)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--demo", action="store_true")
    chosen = parser.parse_args()
    try:
        binding = Binding(load())
        binding.init()
        device = resolve(binding, Wanted(None))[0]
    except Unavailable as gone:
        print(f"No GPU to check here: {gone.reason}.", file=sys.stderr)
        return NO_GPU
    show_device(binding, device)
    load_for(0.5)
    show_ring(binding, device)
    good = show_steps(binding, device)
    show_costs(binding, device)
    good &= show_monitor()
    binding.shutdown()
    if chosen.demo:
        good &= subprocess.run([sys.executable, "-m", "jitwarmup", "demo"], check=False).returncode == 0
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
