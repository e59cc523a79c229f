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

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from jitwarmup.records.report import Report

ROWS = pytest.StashKey[list[dict[str, Any]]]()  # of a test: what it measured
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
    config.addinivalue_line("markers", "jitwarmup(iterations=5, measurements=20, until_steady=False): of `steady`")
    config.addinivalue_line("markers", "jitwarmup_no_recompiles: no run after the warm-up may compile anything")
    if not hasattr(config, "workerinput"):  # xdist's workers print and write nothing
        config.pluginmanager.register(Output(config), "jitwarmup-output")
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
    from jitwarmup.records.files import read_text

    try:
        return {"sides": read_sides(read_text(path, errors="surrogateescape")), "gates": parse_gates(gates)}
    except ArgumentError as error:
        raise pytest.UsageError(f"--jitwarmup-compare {path}: {error}") from error


class Steady:
    """What the fixture ``steady`` gives: call it with a function and its arguments."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._node: Any = request.node
        self._config = request.config
        self.reports: list[Report] = []

    def __call__(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """
        Validate, warm up and measure ``function``: a Report, an awaitable of one where it is asynchronous.

        Raises whatever the function raised, so that the test fails with it.
        """
        from jitwarmup.api.steady import steady_state
        from jitwarmup.engine.callables import kind_of

        if kind_of(function).asynchronous:
            return self._later(function, args, kwargs)
        with steady_state(**self._settings()) as block:
            return self._keep(block.measure(function, *args, **kwargs))

    async def _later(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Report:
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
                f"marker jitwarmup got {unknown or marker.args}; wanted {', '.join(SETTINGS)} by name"
            )
        if given.pop("until_steady", False):
            from jitwarmup.engine.rules import until_steady

            given["iterations"] = until_steady()
        return given

    def _keep(self, report: Report) -> Report:
        """Note the report for the table, and fail the test where something says so."""
        from jitwarmup.records.text import shortened

        report.raise_for_failure()
        self.reports.append(report)
        number = len(self.reports)
        name = self._node.nodeid + (f" #{number}" if number > 1 else "")
        saved = report.to_dict() if self._config.getoption("--jitwarmup-save") else None
        row = {"test": name, "report": saved, **row_of(report)}
        self._node.stash.setdefault(ROWS, []).append(row)
        problems = self._recompiled(report)
        if BASELINE in self._config.stash:
            problems += compared(self._config.stash[BASELINE], name, report, row)
        if problems:
            pytest.fail(shortened("; ".join(problems)), pytrace=False)
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

    latency = report.latency
    known = latency.ci_low_s is not None
    return {
        "cold": "warm before" if report.warm_before else span(report.cold_s),
        "steady": span(latency.median_s),
        "interval": f"{span(latency.ci_low_s)} to {span(latency.ci_high_s)}" if known else "-",
        "runs": latency.n,
        "verdict": report.verdict.state,
        "change": "",
    }


def compared(against: Mapping[str, Any], name: str, report: Report, row: dict[str, Any]) -> list[str]:
    """Compare with the saved side of the same test; the gates that failed, in words."""
    from jitwarmup.analysis.compare import compare
    from jitwarmup.analysis.gates import judge, percent
    from jitwarmup.analysis.sides import side_of

    side = against["sides"].get(name)
    if side is None:
        row["change"] = "new"
        return []
    found = compare(side, side_of([report], name))
    steady = found.of("steady")
    row["change"] = f"{percent(steady.ratio)} {steady.verdict}"
    # one that is undecided fails no test: a test is one process, which can tell of large differences only
    return [f"gate failed: {one.words}" for one in judge(found, against["gates"]) if one.failed]


@pytest.fixture
def steady(request: pytest.FixtureRequest) -> Steady:
    """For a test: validate, warm up and measure a function by calling this with it and its arguments."""
    return Steady(request)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[Any]:
    """Put the rows on the report of the test, which xdist sends to the session that prints."""
    report = yield
    if call.when == "call" and ROWS in item.stash:
        setattr(report, CARRIED, item.stash[ROWS])
    return report


class Output:
    """Collects the rows where the reports arrive, in the one session or in xdist's controller; saves and shows them."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._rows: list[dict[str, Any]] = []
        self._unsaved = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._rows += getattr(report, CARRIED, [])

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        from jitwarmup.records.errors import ArgumentError
        from jitwarmup.records.files import save_text

        path = self._config.getoption("--jitwarmup-save")
        if path:
            kept = [{**row["report"], "test": row["test"]} for row in self._rows if row["report"]]
            try:
                save_text(path, "".join(json.dumps(one) + "\n" for one in kept))
            except ArgumentError as error:
                session.exitstatus = session.exitstatus or pytest.ExitCode.USAGE_ERROR
                self._unsaved = str(error)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The table, where anything was measured."""
        if not self._rows:
            return
        from jitwarmup.views.text import columns

        terminalreporter.write_sep("-", "jitwarmup: steady state")
        more = ["change"] if any(row["change"] for row in self._rows) else []
        names = ["test", "cold", "steady", "interval", "runs", "verdict", *more]
        for line in columns([names, *([str(row[name]) for name in names] for row in self._rows)], 10_000):
            terminalreporter.write_line(line)
        if self._unsaved:
            terminalreporter.write_line(f"--jitwarmup-save: {self._unsaved}", red=True)
        if self._config.getoption("numprocesses", None):
            words = "measured beside xdist's other workers: they disturb each other; for figures to keep use -n 0"
            terminalreporter.write_line(words)
