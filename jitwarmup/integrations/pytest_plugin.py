"""
pytest plugin: the fixture ``steady``, which runs a function as ``measure`` does and fails a build when it got worse.

    def test_generate(steady):
        report = steady(generate, "hi")          # validated, warmed up in silence, measured at steady state
        assert report.verdict.state == "steady"

    @pytest.mark.jitwarmup_no_recompiles          # no run after the warm-up may compile anything
    @pytest.mark.jitwarmup(iterations=10, measurements=50)
    def test_compiled(steady): ...

    pytest --jitwarmup-save new.jsonl
    pytest --jitwarmup-compare old.jsonl --jitwarmup-fail steady:5%,recompiles:0

Loading it imports nothing but the standard library and the bare package: neither torch, structlog nor our engine.
Rows travel to the table at the end with the test's own report, so they arrive from xdist's workers too.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from jitwarmup.analysis.sides import Measured
    from jitwarmup.records.report import Report

ROWS = pytest.StashKey[list[dict[str, Any]]]()  # of a test: what it measured
ALL = pytest.StashKey[list[dict[str, Any]]]()  # of the session: the same, of all tests
BASELINE = pytest.StashKey[Mapping[str, Any]]()
CARRIED = "jitwarmup_rows"  # the attribute of a test report; plain JSON types, since xdist sends it
SETTINGS = ("iterations", "measurements", "budget_s", "until_steady", "monitor", "on_contamination")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, in a group of their own."""
    group = parser.getgroup("jitwarmup", "warm-up and steady state (jitwarmup)")
    group.addoption("--jitwarmup-save", metavar="FILE", help="write every report as a JSON line")
    group.addoption("--jitwarmup-compare", metavar="FILE", help="compare with what --jitwarmup-save wrote earlier")
    group.addoption("--jitwarmup-fail", metavar="GATES", help="fail tests by gates: steady:5%%,cold:20%%,recompiles:0")


def pytest_configure(config: pytest.Config) -> None:
    """The markers; bad options end the session here, before any test."""
    config.addinivalue_line(
        "markers", "jitwarmup(iterations=5, measurements=20, until_steady=False): how `steady` runs"
    )
    config.addinivalue_line("markers", "jitwarmup_no_recompiles: no run after the warm-up may compile anything")
    config.stash[ALL] = []
    saved, gates = config.getoption("--jitwarmup-compare"), config.getoption("--jitwarmup-fail")
    if gates and not saved:
        raise pytest.UsageError("--jitwarmup-fail compares, so it needs --jitwarmup-compare FILE")
    if saved:
        config.stash[BASELINE] = baseline(saved, gates or "")


def baseline(path: str, gates: str) -> Mapping[str, Any]:
    """The saved sides by test, and the gates."""
    from jitwarmup.analysis.gates import parse_gates
    from jitwarmup.analysis.sides import read_sides
    from jitwarmup.records.errors import ArgumentError

    try:
        with open(path, encoding="utf-8") as lines:  # noqa: PTH123 - as light as it gets
            return {"sides": read_sides(lines.read()), "gates": parse_gates(gates)}
    except (OSError, ArgumentError) as error:
        raise pytest.UsageError(f"--jitwarmup-compare {path}: {error}") from error


# ------------------------------------------------------------------ the fixture


class Steady:
    """
    What the fixture ``steady`` gives: call it with a function and its arguments.

    Args:
        request: of the test.

    """

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._node: Any = request.node
        self._config = request.config
        self.reports: list[Report] = []

    def __call__(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """
        Validate, warm up and measure ``function``.

        Returns:
            A Report; an awaitable of one where the function is asynchronous.

        Raises:
            BaseException: whatever the function raised, so that the test fails with it.

        """
        from jitwarmup.api.steady import steady_state
        from jitwarmup.engine.callables import kind_of

        if kind_of(function).asynchronous:
            return self._later(function, args, kwargs)
        with steady_state(**self._settings()) as block:
            return self._keep(block.measure(function, *args, **kwargs))

    async def _later(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Report:
        """The same for an asynchronous function, when it is awaited."""
        from jitwarmup.api.steady import steady_state

        async with steady_state(**self._settings()) as block:
            return self._keep(await block.measure(function, *args, **kwargs))

    def _settings(self) -> dict[str, Any]:
        """The settings of the marker nearest to the test."""
        marker = self._node.get_closest_marker("jitwarmup")
        given: dict[str, Any] = dict(marker.kwargs) if marker is not None else {}
        unknown = sorted(set(given) - set(SETTINGS))
        if unknown or (marker is not None and marker.args):
            raise pytest.UsageError(
                f"the marker jitwarmup got {unknown or marker.args}; wanted {', '.join(SETTINGS)} by name"
            )
        if given.pop("until_steady", False):
            from jitwarmup.engine.rules import until_steady

            given["iterations"] = until_steady()
        return given

    def _keep(self, report: Report) -> Report:
        """Note the report for the table, and fail the test where something says so."""
        report.raise_for_failure()
        self.reports.append(report)
        number = len(self.reports)
        name = self._node.nodeid + (f" #{number}" if number > 1 else "")
        row = {"test": name, "report": report.to_dict() if self._config.getoption("--jitwarmup-save") else None}
        row |= row_of(report)
        self._node.stash.setdefault(ROWS, []).append(row)
        problems = self._recompiled(report)
        if BASELINE in self._config.stash:
            problems += compared(self._config.stash[BASELINE], name, report, row)
        if problems:
            pytest.fail("; ".join(problems), pytrace=False)
        return report

    def _recompiled(self, report: Report) -> list[str]:
        """What the marker ``jitwarmup_no_recompiles`` has to say."""
        if self._node.get_closest_marker("jitwarmup_no_recompiles") is None:
            return []
        from jitwarmup.analysis.sides import compiles_in, compiles_of

        if compiles_of([report]) is None:
            return ["jitwarmup_no_recompiles: compiles could not be watched, so nothing can be promised"]
        found = compiles_in(report.measured)
        kinds = ", ".join(f"{kind} {count} times" for kind, count in sorted(found.items()))
        return [f"jitwarmup_no_recompiles: compiled after the warm-up: {kinds}"] if found else []


def row_of(report: Report) -> dict[str, Any]:
    """The row of the table."""
    from jitwarmup.records.units import span

    cold = report.validation
    return {
        "cold": span(cold.duration_s if cold is not None else None),
        "steady": span(report.latency.median_s),
        "interval": "-"
        if report.latency.ci_low_s is None
        else f"{span(report.latency.ci_low_s)} to {span(report.latency.ci_high_s)}",
        "runs": report.latency.n,
        "verdict": report.verdict.state,
        "change": "",
    }


def compared(against: Mapping[str, Any], name: str, report: Report, row: dict[str, Any]) -> list[str]:
    """Compare with the saved side of the same test; the gates that failed, in words."""
    from jitwarmup.analysis.compare import compare
    from jitwarmup.analysis.gates import judge, percent
    from jitwarmup.analysis.sides import side_of

    side: Measured | None = against["sides"].get(name)
    if side is None:
        row["change"] = "new"
        return []
    found = compare(side, side_of([report], name))
    steady = found.of("steady")
    row["change"] = f"{percent(steady.ratio)} {steady.verdict}"
    return [f"gate failed: {one.words}" for one in judge(found, against["gates"]) if one.failed]


@pytest.fixture
def steady(request: pytest.FixtureRequest) -> Steady:
    """For a test: validate, warm up and measure a function by calling this with it and its arguments."""
    return Steady(request)


# ------------------------------------------------------------------ what comes out


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[Any]:
    """Put the rows on the report of the test, which xdist sends to the session that prints."""
    report = yield
    if call.when == "call" and ROWS in item.stash:
        setattr(report, CARRIED, item.stash[ROWS])
    return report


class Collector:
    """Collects the rows where the reports arrive: in the one session, or in xdist's controller."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One test's report has come."""
        self._config.stash[ALL] += getattr(report, CARRIED, [])


def is_worker(config: pytest.Config) -> bool:
    """Whether this is one of xdist's workers, which print and write nothing."""
    return hasattr(config, "workerinput")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Begin to collect, in the session that prints."""
    if not is_worker(session.config):
        session.config.pluginmanager.register(Collector(session.config), "jitwarmup-collector")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was asked to be saved."""
    path, rows = session.config.getoption("--jitwarmup-save"), session.config.stash[ALL]
    if path and not is_worker(session.config):
        with open(path, "w", encoding="utf-8") as out:  # noqa: PTH123 - as light as it gets
            out.writelines(json.dumps({**row["report"], "test": row["test"]}) + "\n" for row in rows if row["report"])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The table, where anything was measured."""
    rows = config.stash.get(ALL, [])
    if not rows:
        return
    from jitwarmup.views.text import columns

    write: Callable[[str], None] = functools.partial(terminalreporter.write_line)
    terminalreporter.write_sep("-", "jitwarmup: steady state")
    names = ("cold", "steady", "interval", "runs", "verdict", "change")
    table = [("test", *names), *((row["test"], *(str(row[name]) for name in names)) for row in rows)]
    if not any(row["change"] for row in rows):
        table = [line[:-1] for line in table]
    for line in columns(table, 10_000):
        write(line)
    if config.getoption("numprocesses", None):
        write("measured beside xdist's other workers: they disturb each other; for figures to keep use -n 0")
