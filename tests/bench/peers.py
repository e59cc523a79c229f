"""
Eight shapes cycling through one compiled function, one warm-up, twenty measured: what each tool says of it.

    python tests/bench/peers.py

The function is the same in every row and compiled by Dynamo with ``backend="eager"``, so that a recompile costs
milliseconds and not a minute; a compiler behind it makes every error below larger. Each peer runs in a process of its
own, started here. The control is the same function when all shapes are warm.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SUBJECT = """
import itertools
import torch, torch._dynamo
torch.set_num_threads(1)
torch._dynamo.config.automatic_dynamic_shapes = False
torch._dynamo.config.recompile_limit = 64
inputs = [torch.randn(n, 256) for n in range(32, 40)]

@torch.compile(backend="eager")
def step(x):
    for _ in range(20):
        x = (x @ x.T).softmax(-1) @ x
    return x

cycle = itertools.cycle(inputs)
def run():
    return step(next(cycle))
"""

OURS = """
from jitwarmup import steady_state
import json
with steady_state(iterations=1, measurements=20) as steady:
    report = steady.measure(run)
with steady_state(iterations=5, measurements=40) as steady:
    control = steady.measure(run)
print(json.dumps({
    "median_s": report.latency_s, "mean_s": report.latency_all.mean_s,
    "marked": [run.index for run in report.measured if run.contaminated], "verdict": report.verdict.state,
    "control_s": control.latency_s,
}))
"""
TIMER = """
from torch.utils.benchmark import Timer
import json
found = Timer("run()", globals={"run": run}).timeit(20)
print(json.dumps({"mean_s": found.mean}))
"""
PYTEST = """
def test_step(benchmark):
    benchmark.pedantic(run, rounds=20, warmup_rounds=1)
"""
PYPERF = """
import pyperf
pyperf.Runner().bench_func("step", run)
"""


def child(code: str, *arguments: str, folder: str, name: str = "subject.py") -> str:
    """Run the subject and some code in a fresh process; what it printed."""
    path = Path(folder) / name
    path.write_text(textwrap.dedent(SUBJECT + code))
    command = [sys.executable, *(arguments or ("{path}",))]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JITWARMUP_LOG": "off"}
    done = subprocess.run(
        [part.format(path=path, folder=folder) for part in command],
        capture_output=True, text=True, env=env, cwd=folder, check=False, timeout=900,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def pytest_benchmark(folder: str) -> dict[str, float]:
    saved = ("--benchmark-json={folder}/out.json", "-p", "no:cacheprovider")
    child(PYTEST, "-m", "pytest", "-q", "{path}", *saved, folder=folder, name="test_subject.py")
    stats = json.loads((Path(folder) / "out.json").read_text())["benchmarks"][0]["stats"]
    return {"median_s": stats["median"], "mean_s": stats["mean"]}


def pyperf(folder: str) -> dict[str, float]:
    child(PYPERF, "{path}", "-p", "3", "-w", "1", "-n", "20", "-l", "1", "-o", "{folder}/pyperf.json", folder=folder)
    runs = json.loads((Path(folder) / "pyperf.json").read_text())["benchmarks"][0]["runs"]
    values = [value for run in runs for value in run.get("values", ())]
    return {"median_s": statistics.median(values), "mean_s": statistics.fmean(values)}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ours = json.loads(child(OURS, folder=folder).splitlines()[-1])
        truth = ours["control_s"]
        rows = {
            "control: all shapes warm": {"median_s": truth},
            "jitwarmup, clean runs": {"median_s": ours["median_s"]},
            "jitwarmup, all runs": {"mean_s": ours["mean_s"]},
            "torch.utils.benchmark Timer": json.loads(child(TIMER, folder=folder).splitlines()[-1]),
            "pytest-benchmark, 1 warm-up": pytest_benchmark(folder),
            "pyperf, 1 warm-up, 3 processes": pyperf(folder),
        }
    print(f"{'':32} {'median':>10} {'mean':>10}  x control  mark on the result")
    for name, row in rows.items():
        median, mean = (f"{row[key] * 1e3:7.3f} ms" if key in row else "-" for key in ("median_s", "mean_s"))
        reported = (
            row.get("median_s", row.get("mean_s"))
            if name.startswith(("jitwarmup, clean", "control"))
            else row["mean_s"]
        )
        mark = f"{ours['verdict']}: runs {ours['marked']}" if name.startswith("jitwarmup") else "none"
        print(
            f"{name:32} {median:>10} {mean:>10}  {reported / truth:8.2f}x  {'' if name.startswith('control') else mark}"
        )
    error = ours["median_s"] / truth - 1
    print(
        f"clean median within {abs(error):.1%} of the control (goal 15 %): {'kept' if abs(error) <= 0.15 else 'MISSED'}"
    )


if __name__ == "__main__":
    main()
