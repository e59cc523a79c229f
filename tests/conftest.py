"""What holds for every test: each event fits the events' table, and nothing that one test configured reaches the next."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest
from strict import strict_build

from jitwarmup import probes
from jitwarmup.events import emit, schema
from jitwarmup.events.guard import FAULTS
from jitwarmup.events.sinks import Recorder
from jitwarmup.host.scope import CURRENT
from jitwarmup.host.switch import SWITCH
from jitwarmup.keys.at_exit import LEAVING
from jitwarmup.probes.probe_set import DEFAULT
from jitwarmup.probes.run_table import RUNS


def pytest_configure() -> None:
    """Started in the background of a script, SIGINT is ignored, by every child too; the tests of interrupts need it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A busy machine must not fail a test: what compares times runs when it is asked for by name."""
    if "timed" not in config.option.markexpr:
        for item in items:
            if "timed" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="compares times; run pytest -m timed"))


@pytest.fixture(autouse=True)
def _clean_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(schema, "build", strict_build)
    monkeypatch.setattr(emit, "SILENT", False)
    CURRENT.set(None)
    FAULTS.by_place.clear()
    tracer = sys.gettrace()
    yield
    if sys.gettrace() is not tracer:  # coverage's own, which an exception out of a signal handler puts out
        sys.settrace(tracer)
    LEAVING.hurry_until = -1.0  # a test's own SIGTERM is over
    probes._USUAL.disarm()
    gc_watches()
    if (structlog := sys.modules.get("structlog")) is not None:
        structlog.reset_defaults()
    assert not emit._CAPTURING, "a test goes on capturing events"
    faults = dict(FAULTS.by_place)
    assert not faults, "something of ours failed behind a call that went on; a test that wants it clears FAULTS"
    assert SWITCH.reasons == 0, "a test left jitwarmup switched off"


def gc_watches() -> None:
    """A watch that a test's traceback keeps alive lets go now, or the next test would find its hooks."""
    if RUNS.held:
        for probe in DEFAULT:
            probe.disarm()
        RUNS.held.clear()


@pytest.fixture
def events() -> Iterator[Recorder]:
    """Every event of the test, as whole dicts; nothing reaches stderr."""
    recorder = Recorder()
    with emit.captured(recorder):
        yield recorder
