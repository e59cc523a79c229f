"""Every example runs as a stranger would run it, and says what its docstring promises."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PROMISES = {
    "plain_function.py": "a run at the median of 20 clean runs",
    "transformers_generate.py": "generate",
    "streaming_generator.py": "warm up once and stream ever after \nfirst item after",
    "async_function.py": "50 answers, 56 runs",
    "method_of_a_class.py": "20 5 warm True\n30 5 warm",
    "inline_trials.py": "the whole block took",
    "why_was_it_slow.py": "size of x changed at dimension 0: expected 8, got 12",
    "token_times.py": "one call: 15 gaps, tokens of each sequence (16, 16)",
    "sweep.py": "failed in load, missing_dependency\nexit code 1, a rerun runs 0",
}
LAUNCHED = {"torchrun.py": "straggler: rank 1 in"}  # by torchrun; two ranks here, to save time
LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
SERVERS = {"asgi_service.py"}  # run until they are stopped: tests/integrations/test_asgi.py starts and asks them


def run(name: str, *launcher: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **({"OMP_NUM_THREADS": "1"} if launcher else {})}
    return subprocess.run(
        [sys.executable, *launcher, str(ROOT / "examples" / name)],
        capture_output=True,
        text=True,
        env=env,
        timeout=300,
        check=False,
    )


SLOW = {"transformers_generate.py", "sweep.py", "token_times.py", "why_was_it_slow.py"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in sorted(PROMISES)]
)
def test_an_example_runs_and_keeps_its_promise(name: str) -> None:
    done = run(name)
    assert done.returncode == 0, done.stderr
    assert PROMISES[name] in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LAUNCHED))
def test_an_example_of_several_ranks_runs_and_keeps_its_promise(name: str) -> None:
    done = run(name, *LAUNCHER)
    assert done.returncode == 0, done.stderr
    assert LAUNCHED[name] in done.stdout


def test_every_example_is_run_by_a_test() -> None:
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == {*PROMISES, *LAUNCHED, *SERVERS}
