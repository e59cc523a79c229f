"""
The law of the house, setup.cfg's contracts, checked with the standard library alone (and by lint-imports where it is there).

Only what import-linter would also count is counted: every import statement, those inside functions included.
"""

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
    "keys/summary.py",  # when the next summary is due
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


def imported_by(tree):
    """Full names that a module's import statements name; ``from a import b`` is ``a.b`` where that is a module of ours."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used in this house"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module


GRAPH = {name: set(imported_by(tree)) for name, tree in MODULES.items()}


def inside(name, wing):
    return name == wing or name.startswith(wing + ".")


def chain(graph, start, wings, ignored=()):
    """A road of imports from ``start`` into one of the ``wings``, or None."""
    roads = [(start,)]
    seen = {start}
    while roads:
        road = roads.pop(0)
        for found in sorted(graph.get(road[-1], ())):
            if (road[-1], found) in ignored or found in seen:
                continue
            if any(inside(found, wing) for wing in wings):
                return (*road, found)
            seen.add(found)
            roads.append((*road, found))
    return None


def words(section, name):
    return [line.strip() for line in section.get(name, "").splitlines() if line.strip()]


def ignored_by(section):
    return {tuple(part.strip() for part in line.split("->")) for line in words(section, "ignore_imports")}


def break_layers(section, graph):
    floors = [[wing.strip() for wing in line.split("|")] for line in words(section, "layers")]
    for place, floor in enumerate(floors):
        for wing in floor:
            above = [other for higher in floors[:place] for other in higher] + [one for one in floor if one != wing]
            yield from roads_from(wing, above, graph, ignored_by(section))


def break_forbidden(section, graph):
    forbidden = words(section, "forbidden_modules")
    for wing in words(section, "source_modules"):
        if section.getboolean("allow_indirect_imports", fallback=False):
            direct = {name: {found for found in graph[name] if found not in graph} for name in graph}
            yield from roads_from(wing, forbidden, direct, ignored_by(section))
        else:
            yield from roads_from(wing, forbidden, graph, ignored_by(section))


def roads_from(wing, wanted, graph, ignored):
    for name in graph:
        if inside(name, wing) and (road := chain(graph, name, wanted, ignored)):
            yield " -> ".join(road)


KINDS = {"layers": break_layers, "forbidden": break_forbidden}
BY_IMPORT_LINTER = {"acyclic_siblings"}  # import-linter itself is asked, also about a cycle that was put in


def law():
    found = configparser.ConfigParser()
    found.read(ROOT / "setup.cfg", encoding="utf-8")
    return found


CONTRACTS = {name: law()[name] for name in law().sections() if name.startswith("importlinter:contract:")}


def breaches(section, graph):
    return sorted(KINDS[section["type"]](section, graph))


def with_import(importer, imported):
    return {**GRAPH, importer: GRAPH.get(importer, set()) | {imported}}


# ------------------------------------------------------------------------------------------------ the contracts


@pytest.mark.parametrize("name", [name for name in CONTRACTS if CONTRACTS[name]["type"] in KINDS])
def test_the_house_keeps_its_law(name):
    assert breaches(CONTRACTS[name], GRAPH) == []


PLANTED = [
    ("layers", "jitwarmup.records.runs", "jitwarmup.engine.steps"),
    ("layers", "jitwarmup.views.text", "jitwarmup.gpu.binding"),
    ("layers", "jitwarmup.host.clock", "jitwarmup.cli"),
    ("layers", "jitwarmup.events.emit", "jitwarmup.gpu.reading"),
    ("layers", "jitwarmup.keys.registry", "jitwarmup.engine.options"),
    ("pure", "jitwarmup.engine.steps", "time"),
    ("pure", "jitwarmup.analysis.stats", "torch.nn"),
]


@pytest.mark.parametrize(("contract", "importer", "imported"), PLANTED)
def test_a_planted_breach_is_found(contract, importer, imported):
    section = CONTRACTS[f"importlinter:contract:{contract}"]
    assert any(importer in road for road in breaches(section, with_import(importer, imported)))


def test_every_package_has_a_layer():
    layers = {
        word.strip() for line in words(CONTRACTS["importlinter:contract:layers"], "layers") for word in line.split("|")
    }
    packages = {f"jitwarmup.{path.name}" for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert layers == packages


def test_import_linter_agrees():
    tool = shutil.which("lint-imports", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if tool is None:
        pytest.skip("import-linter is not installed")
    told = subprocess.run([tool, "--no-cache"], cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told.stdout
    assert "0 broken" in told.stdout


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


def test_only_the_window_reads_a_clock_around_user_code():
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

    assert {place for place, node in calls_of("configure") if of_structlog(node)} == {"events/configure.py"}


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
    told = python(f"import jitwarmup, sys; {SHOW}")
    assert told.stdout == "set()\n", told.stderr


def test_every_public_name_resolves_without_anything_heavy():
    told = python(f"import jitwarmup, sys; [getattr(jitwarmup, name) for name in jitwarmup.__all__]; {SHOW}")
    assert told.stdout == "set()\n", told.stderr


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
    told = python(USE)
    assert told.stdout == "set()\n", told.stderr
    assert "jitwarmup.call" in told.stderr  # short lines, without any set-up
