"""The pytest plugin, in projects of their own: what it measures, what it fails, and what it leaves alone."""

import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
MODULE = "jitwarmup.integrations.pytest_plugin"
INSTALLED = any(point.value == MODULE for point in importlib.metadata.entry_points(group="pytest11"))
PROJECT = """
import pytest
from jitwarmup import Report

def work(n=20000):
    return sum(range(n))

def test_plain(steady):
    assert isinstance(steady(work), Report)
    steady(work, 10)

@pytest.mark.jitwarmup(iterations=2, measurements=8)
def test_marked(steady):
    report = steady(work)
    assert (len(report.warmup), len(report.measured)) == (2, 8)

def test_untouched():
    assert work(3) == 3
"""
COMPILES = """
import pytest
from types import SimpleNamespace
from jitwarmup import OneTimeWork, steady_state

late = {late}
runs = 0

class Recompiles:
    name = "recompiles"
    def arm(self):
        return SimpleNamespace(state="armed", reason=None)
    def snapshot(self):
        return runs
    def delta(self, before, after):
        return [OneTimeWork(kind="dynamo.recompile")] if before < late == after else []
    def disarm(self):
        pass

@pytest.fixture
def counted():
    with steady_state(probes=[Recompiles()]):
        yield

def work():
    global runs
    runs += 1

@pytest.mark.jitwarmup(iterations=2, measurements=8)
@pytest.mark.jitwarmup_no_recompiles
def test_it(counted, steady):
    steady(work)
"""


@pytest.fixture
def project(tmp_path):
    """Write a test file and run pytest on it in a process of its own, warnings as errors."""

    def run(source, *words, **env):
        (tmp_path / "test_it.py").write_text(source)
        plugin = () if INSTALLED else ("-p", MODULE)
        command = [sys.executable, "-m", "pytest", *plugin, "-W", "error", "-p", "no:cacheprovider", *words]
        ours = ("PYTEST_ADDOPTS", "PYTEST_XDIST", "COLUMNS")  # it is no worker, where this one is
        base = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        env = {**base, "PYTHONPATH": str(ROOT), "COLUMNS": "160", **env}
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env, timeout=300, check=False)

    run.folder = tmp_path
    return run


def test_the_fixture_measures_and_a_table_closes_the_session(project):
    done = project(PROJECT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    table = done.stdout.partition("jitwarmup: steady state")[2]
    for name in ("test_it.py::test_plain ", "test_it.py::test_plain #2", "test_it.py::test_marked"):
        assert name in table
    assert "test_untouched" not in table


def test_a_session_that_measures_nothing_prints_nothing(project):
    done = project("def test_it(): pass")
    assert done.returncode == 0
    assert "jitwarmup" not in done.stdout.partition("collected")[2]


def test_loading_the_plugin_imports_neither_torch_nor_structlog_nor_the_engine(project):
    heavy = ("torch", "structlog", "numpy", "transformers", "rich", "matplotlib", "jitwarmup.engine")
    done = project(f"import sys\ndef test_it(): assert not set({heavy}) & set(sys.modules)")
    assert done.returncode == 0, done.stdout


def test_saved_reports_are_compared_test_by_test_and_gates_fail_the_test(project):
    assert project(PROJECT, "--jitwarmup-save", "old.jsonl").returncode == 0
    lines = [json.loads(line) for line in (project.folder / "old.jsonl").read_text().splitlines()]
    assert [line["test"] for line in lines][:2] == ["test_it.py::test_plain", "test_it.py::test_plain #2"]
    done = project(PROJECT, "--jitwarmup-compare", "old.jsonl", "--jitwarmup-fail", "steady:900%,recompiles:0")
    assert done.returncode == 0, done.stdout
    assert "change" in done.stdout
    slower = PROJECT.replace("n=20000", "n=400000")
    done = project(slower, "--jitwarmup-compare", "old.jsonl", "--jitwarmup-fail", "steady:100%")
    assert done.returncode == 1
    assert "gate failed: steady" in done.stdout  # of two; beside other work one may be undecided, which fails no test


def test_a_compile_after_the_warm_up_fails_the_marked_test(project):
    late = project(COMPILES.replace("{late}", "9"))
    assert late.returncode == 1
    assert "compiled after the warm-up: dynamo.recompile 1 times" in late.stdout
    early = project(COMPILES.replace("{late}", "2"))
    assert early.returncode == 0, early.stdout


def test_the_functions_own_exception_fails_the_test(project):
    done = project("def test_it(steady):\n    def bad(): raise KeyError('mine')\n    steady(bad)")
    assert done.returncode == 1
    assert "KeyError: 'mine'" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--jitwarmup-fail", "steady:5%"), "needs --jitwarmup-compare"),
        (("--jitwarmup-compare", "none.jsonl"), "none.jsonl"),
        (("--jitwarmup-compare", "test_it.py"), "got no report"),
    ],
)
def test_options_that_cannot_work_end_the_session_before_any_test(project, words, message):
    done = project(PROJECT, *words)
    assert done.returncode == 4
    assert message in done.stderr


def test_a_marker_with_an_unknown_setting_says_what_is_known(project):
    done = project(PROJECT.replace("iterations=2", "rounds=2"))
    assert done.returncode == 1
    assert "wanted iterations, measurements" in done.stdout


@pytest.mark.slow
def test_asynchronous_functions_give_an_awaitable(project):
    source = "import asyncio\nasync def f(): pass\n"
    source += "def test_it(steady): assert asyncio.run(steady(f)).latency_s is not None"
    assert project(source).returncode == 0


@pytest.mark.slow
def test_it_works_beside_pytest_benchmark(project):
    pytest.importorskip("pytest_benchmark")
    source = PROJECT + "\ndef test_both(benchmark, steady):\n    benchmark(work, 10)\n    steady(work, 10)\n"
    done = project(source, "--benchmark-max-time=0.01")
    assert done.returncode == 0, done.stdout
    assert "benchmark: 1 tests" in done.stdout
    assert "test_it.py::test_both" in done.stdout.partition("jitwarmup: steady state")[2]


@pytest.mark.slow
def test_it_works_on_xdists_workers(project):
    pytest.importorskip("xdist")
    done = project(PROJECT, "-n", "2", "-p", "no:benchmark", "--jitwarmup-save", "out.jsonl")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "measured beside xdist's other workers" in done.stdout
    assert len((project.folder / "out.jsonl").read_text().splitlines()) == 3


@pytest.mark.slow
def test_a_project_outside_this_repository_installs_the_wheel_and_uses_the_fixture(tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(source)], check=True)
    wheel = [*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", str(tmp_path), str(source)]
    built = subprocess.run(wheel, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (found,) = tmp_path.glob("jitwarmup-*.whl")
    site, project = tmp_path / "site", tmp_path / "project"
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", str(site), str(found)], check=True)
    project.mkdir()
    mine = f"\nimport jitwarmup\ndef test_origin(): assert jitwarmup.__file__.startswith({str(site)!r})\n"
    (project / "test_it.py").write_text(PROJECT + mine)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider"],
        cwd=project,
        capture_output=True,
        text=True,
        env={**env, "PYTHONPATH": str(site)},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "jitwarmup: steady state" in done.stdout
    assert "4 passed" in done.stdout
