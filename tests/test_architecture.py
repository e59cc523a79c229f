"""The import rules, setup.cfg's contracts, by import-linter; clocks, context variables and light imports by reading."""

import ast
import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "jitwarmup"
HEAVY = {"torch", "transformers", "pynvml", "structlog", "numpy"}
CLOCKS = {
    "engine/timed_region.py",  # the timed region
    "keys/single_flight.py",  # how long to wait for somebody else's warm-up
    "keys/at_exit.py",  # how long the end waits for threads that count, and how long calls are emitted at once
    "keys/summary.py",  # when the next summary is due
    "integrations/opentelemetry.py",  # the stamp of a log record
    "integrations/sweep/runner.py",  # when a configuration began, and how long all of it took, loading included
    "integrations/sweep/export.py",  # the date in a file's name
}
OUTSIDE = {"host", "probes", "gpu", "events", "distributed", "testing"}  # they meet the outside world
NO_CLOCK = {"sleep"}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = {name_of(path): tree for path, tree in SOURCES.items()}


def lint(folder):
    """What import-linter says of the package in a folder, by the contracts beside it."""
    tool = shutil.which("lint-imports", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if tool is None:
        pytest.skip("import-linter is not installed")
    env = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run([tool, "--no-cache"], cwd=folder, check=False, capture_output=True, text=True, env=env)


@pytest.fixture
def copied(tmp_path):
    """A copy of the package and of the contracts, to be broken on purpose."""
    shutil.copytree(PACKAGE, tmp_path / "jitwarmup", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    return tmp_path


# ------------------------------------------------------------------------------------------------ the contracts


def test_the_contracts_hold():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


PLANTED = [
    ("No import cycles", "jitwarmup/gpu/planted.py", "from jitwarmup.gpu import planted_back\n"),
    ("Packages import downward only", "jitwarmup/records/planted.py", "import jitwarmup.engine.steps\n"),
    ("Data, numbers and decisions", "jitwarmup/analysis/planted.py", "def f():\n    import time\n"),
]


@pytest.mark.parametrize(("contract", "file", "text"), PLANTED)
def test_a_planted_import_breaks_its_contract(copied, contract, file, text):
    (copied / file).write_text(text, encoding="utf-8")
    if "cycle" in contract:  # between siblings of one package: there and back
        back = copied / "jitwarmup/gpu/planted_back.py"
        back.write_text("from jitwarmup.gpu import planted\n", encoding="utf-8")
    result = lint(copied)
    assert result.returncode == 1, result.stdout + result.stderr
    assert any(line.startswith(contract) and " BROKEN" in line for line in result.stdout.splitlines()), result.stdout


def test_every_package_has_a_layer_and_every_layer_a_package():
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / "setup.cfg", encoding="utf-8")
    layers = {word for word in contracts["importlinter:contract:layers"]["layers"].split() if word != "|"}
    packages = {f"jitwarmup.{path.name}" for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert layers == packages


# ------------------------------------------------------------------------------------------------ clocks and configuring


def clock_reads(tree):
    """Lines that read a clock, by the modules ``time`` and ``datetime``, under whatever name."""
    aliases = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            aliases |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            whole = f"{aliases.get(node.value.id, '')}.{node.attr}"
        elif isinstance(node, ast.Name):
            whole = aliases.get(node.id, "")
        else:
            continue
        if whole in ("datetime.datetime.now", "datetime.datetime.utcnow"):
            yield node.lineno
        if whole.startswith("time.") and whole.removeprefix("time.") not in NO_CLOCK:
            yield node.lineno


def readers():
    return {path.relative_to(PACKAGE).as_posix() for path, tree in SOURCES.items() if any(clock_reads(tree))}


def test_only_the_timed_region_reads_a_clock_around_user_code():
    assert {place for place in readers() if place.split("/")[0] not in OUTSIDE} == CLOCKS


@pytest.mark.parametrize(
    "code",
    [
        "import time\ntime.time()",
        "import time as t\nx = t.perf_counter_ns",
        "from time import monotonic\nmonotonic()",
        "from time import monotonic as m\nm()",
        "from datetime import datetime\ndatetime.now()",
    ],
)
def test_a_clock_read_is_recognised_under_any_name(code):
    assert list(clock_reads(ast.parse(code))) == [2]


def test_sleeping_is_no_clock_read():
    assert list(clock_reads(ast.parse("import time\ntime.sleep(1)"))) == []


def calls_of(attribute):
    for path, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == attribute:
                yield path.relative_to(PACKAGE).as_posix(), node


def test_structlog_is_configured_in_one_place_only():
    def of_structlog(node):
        return isinstance(node.func.value, ast.Name) and node.func.value.id == "structlog"

    assert {place for place, node in calls_of("configure") if of_structlog(node)} == {"events/sinks.py"}


def context_variables(tree):
    """Module-level names that hold a ContextVar."""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign | ast.Assign) and isinstance(node.value, ast.Call):
            made = node.value.func
            if getattr(made, "id", getattr(made, "attr", "")) == "ContextVar":
                targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
                yield from (target.id for target in targets)


def tokens_kept(trees):
    """Where the value of ``variable.set(...)`` is kept, or a ContextVar is reset by token."""
    variables = {name for tree in trees for name in context_variables(tree)}
    for tree in trees:
        bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if (
                not isinstance(node, ast.Call)
                or getattr(getattr(node.func, "value", None), "id", None) not in variables
            ):
                continue
            if node.func.attr == "reset" or (node.func.attr == "set" and id(node) not in bare):
                yield ast.unparse(node)


def test_no_token_of_a_context_variable_is_kept():
    assert list(tokens_kept(SOURCES.values())) == []
    assert {name for tree in SOURCES.values() for name in context_variables(tree)} >= {"CURRENT"}


def test_a_kept_token_would_be_found():
    kept = ast.parse("V = ContextVar('v')\ndef f():\n    token = V.set(1)\n    V.reset(token)")
    assert sorted(tokens_kept([kept])) == ["V.reset(token)", "V.set(1)"]


# ------------------------------------------------------------------------------------------------ lightness


def at_module_level(tree):
    """Import statements that run when the module is imported: not in functions, not for type checkers only."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
        else:
            waiting += ast.iter_child_nodes(node)


@pytest.mark.parametrize("name", MODULES)
def test_nothing_heavy_is_imported_at_module_level(name):
    assert {found.split(".")[0] for found in at_module_level(MODULES[name])} & HEAVY == set()


def python(code, **environment):
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=env, timeout=60
    )


SHOW = "print({'torch','transformers','pynvml','structlog','numpy'} & set(sys.modules))"


def test_importing_jitwarmup_loads_nothing_heavy():
    result = python(f"import jitwarmup, sys; {SHOW}")
    assert result.stdout == "set()\n", result.stderr


def test_every_public_name_resolves_without_anything_heavy():
    result = python(f"import jitwarmup, sys; [getattr(jitwarmup, name) for name in jitwarmup.__all__]; {SHOW}")
    assert result.stdout == "set()\n", result.stderr


USE = f"""
import asyncio, sys
import jitwarmup

@jitwarmup.warmed(iterations=1, measurements=2)
def double(x):
    return 2 * x

@jitwarmup.warmed(iterations=1)
async def later(x):
    return x

assert double(2) == 4 and double.measure(1).latency_s > 0 and asyncio.run(later(3)) == 3
with jitwarmup.steady_state(double, 1, iterations=1):
    double(1)
{SHOW}
"""


def test_decorating_calling_and_measuring_load_nothing_heavy():
    result = python(USE)
    assert result.stdout == "set()\n", result.stderr
    assert "jitwarmup.call" in result.stderr  # short lines, without any set-up
