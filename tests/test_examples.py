"""Every example runs as a user would run it, and prints what its docstring promises."""

import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from xml.dom import minidom

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
HEAVY = {
    "transformers_generate.py",
    "token_times.py",
    "sweep.py",
    "why_was_it_slow.py",
}  # import torch in a new process
DRAWN = {"draw_a_warm_up.py"}
LAUNCHED = {"torchrun.py": "straggler: rank 1 in"}  # by torchrun; two ranks here, to save time
LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
SERVERS = {"asgi_service.py"}  # run until they are stopped: tests/integrations/test_asgi.py starts and asks them


def run(name: str, *launcher: str, words: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **({"OMP_NUM_THREADS": "1"} if launcher else {})}
    return subprocess.run(
        [sys.executable, *launcher, str(ROOT / "examples" / name), *words],
        capture_output=True,
        text=True,
        env=env,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in HEAVY else []) for name in sorted(PROMISES)]
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


@pytest.mark.slow
def test_a_warm_up_is_drawn_as_the_picture_of_the_readme_was(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("matplotlib")
    drawn = tmp_path / "picture.svg"
    done = run("draw_a_warm_up.py", words=[str(drawn), "eager"])  # inductor drew the README's
    assert done.returncode == 0, done.stderr
    assert "run 12: " in done.stdout
    assert "dimension 0: expected 64, got 96" in done.stdout
    picture = drawn.read_text(encoding="utf-8")
    assert minidom.parseString(picture).documentElement.tagName == "svg"  # noqa: S318 - our own file
    assert "dynamo.recompile" in picture
    assert "var(--" not in picture


def test_every_example_is_run_by_a_test() -> None:
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == {*PROMISES, *DRAWN, *LAUNCHED, *SERVERS}
