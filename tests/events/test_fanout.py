from __future__ import annotations

import logging
from contextlib import contextmanager

import pytest

from jitwarmup import steady_state, warmed
from jitwarmup.events import Fanout, SafeEmitter, as_emitter, default_emitter, emit, schema, set_emitters
from jitwarmup.events.sinks import Recorder
from jitwarmup.records.errors import ArgumentError

FIELDS = {"schema": "jitwarmup/1", "callable": "f", "duration_s": 1.0, "outcome": "ok"}


class Raising:
    def emit(self, event, level, fields):
        raise ValueError("secret")


def test_every_emitter_gets_every_event():
    first, second = Recorder(), Recorder()
    Fanout(first, second).emit(schema.CALL, "info", FIELDS)
    assert first.events == second.events == [{"event": schema.CALL, "level": "info", **FIELDS}]


def test_an_emitter_that_raises_is_counted_noted_once_and_does_not_stop_the_others(capsys):
    recorder = Recorder()
    fanout = Fanout(Raising(), recorder)
    for _ in range(3):
        fanout.emit(schema.CALL, "info", FIELDS)
    noted = capsys.readouterr().err
    assert (fanout.lost, len(recorder)) == (3, 3)
    assert noted.count("\n") == 1
    assert "raised ValueError" in noted
    assert "secret" not in noted


@pytest.mark.parametrize(
    "sink", [5, "stderr", Recorder, logging.getLogger("x"), logging.NullHandler(), None, lambda details: None]
)
def test_what_is_no_emitter_is_refused_with_the_way_out(sink):
    with pytest.raises(ArgumentError, match=r"got .*wanted .*as_emitter"):
        Fanout(sink)


class Span(Recorder):
    """An emitter that spans the warm-up."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    def emit(self, event, level, fields):
        self.log.append(event)

    @contextmanager
    def warming(self, fields):
        self.log.append("enter")
        try:
            yield
        finally:
            self.log.append("exit")


def spanned_by(manager) -> SafeEmitter:
    class Spans(Recorder):
        def warming(self, fields):
            return manager

    return SafeEmitter(Spans())


def test_an_emitter_may_span_the_warm_up():
    span, recorder = Span(), Recorder()
    safe = SafeEmitter(Fanout(span, recorder))
    with safe.warming({"callable": "f"}):
        span.log.append("runs")
    safe.emit(schema.CALL, "info", FIELDS)
    assert span.log == ["enter", "runs", "exit", schema.CALL]
    assert len(recorder) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_what_the_warm_up_raises_passes_through_a_span(error):
    span = Span()
    with pytest.raises(error), SafeEmitter(Fanout(span)).warming({}):
        raise error
    assert span.log == ["enter", "exit"]


def test_a_span_cannot_swallow_what_is_raised_inside():
    class Swallows:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            assert error == (None, None, None)  # it does not even see it
            return True

    with pytest.raises(ValueError, match="mine"), spanned_by(Swallows()).warming({}):
        raise ValueError("mine")


class Fails:
    def __init__(self, where: str) -> None:
        self.where = where
        self.log: list[str] = []

    def __enter__(self):
        self.log.append("enter")
        if self.where == "entry":
            raise OSError

    def __exit__(self, *error):
        self.log.append("exit")
        raise OSError


@pytest.mark.parametrize(("where", "log"), [("entry", ["enter"]), ("exit", ["enter", "exit"])])
def test_a_span_that_fails_harms_nobody(where, log, capsys):
    fails, ran = Fails(where), []
    safe = spanned_by(fails)
    with safe.warming({}):
        ran.append(1)
    assert (ran, fails.log, safe.lost) == ([1], log, 1)
    assert f"raised OSError on {where}" in capsys.readouterr().err


def test_an_emitter_whose_warming_raises_harms_nobody():
    class Bad(Recorder):
        def warming(self, fields):
            raise OSError

    safe, ran = SafeEmitter(Bad()), []
    with safe.warming({}):
        ran.append(1)
    assert (ran, safe.lost) == ([1], 1)


def test_an_emitter_without_warming_spans_nothing():
    with SafeEmitter(Recorder()).warming({}):
        pass


@pytest.fixture
def added():
    """Emitters added to the process, for the time of a test."""
    span, recorder = Span(), Recorder()
    set_emitters(span, recorder)
    yield span, recorder
    set_emitters()


def test_added_emitters_get_events_besides_the_log(caplog, added):
    span, recorder = added
    caplog.set_level(logging.INFO, "jitwarmup")
    safe = SafeEmitter(as_emitter(None))
    with safe.warming({"callable": "f"}):
        safe.emit(schema.CALL, "info", FIELDS)
    with emit.captured(Recorder()), safe.warming({}):
        safe.emit(schema.CALL, "info", FIELDS)  # a test that captures events keeps them to itself
    set_emitters()
    safe.emit(schema.CALL, "info", FIELDS)
    assert len(recorder) == 1
    assert span.log == ["enter", schema.CALL, "exit"]
    assert len(caplog.records) == 2


def test_added_emitters_get_events_where_the_operator_silences_the_log(monkeypatch, capsys, added):
    monkeypatch.setattr(emit, "SILENT", True)
    as_emitter(None).emit(schema.CALL, "info", FIELDS)
    assert len(added[1]) == 1
    assert capsys.readouterr().err == ""


def test_an_added_emitter_spans_the_warm_up_of_a_function(added):
    span, _ = added

    @warmed(iterations=2)
    def function():
        span.log.append("run")

    function()
    steps = [step for step in span.log if not step.startswith("jitwarmup.")]
    assert steps == ["enter", "run", "run", "run", "exit", "run"]


def test_the_usual_log_can_be_one_of_several(caplog):
    with caplog.at_level(logging.INFO, "jitwarmup"):
        Fanout(default_emitter()).emit(schema.CALL, "info", FIELDS)
    assert [record.getMessage() for record in caplog.records] == ["jitwarmup.call f 1 s"]


def test_a_block_has_its_own_log(added):
    recorder = Recorder()
    with steady_state(log=recorder):
        pass
    assert [entry["event"] for entry in recorder] == [schema.BLOCK_COMPLETED]
    assert len(added[1]) == 0


def test_an_event_leaves_through_at_most_three_functions():
    import traceback

    depths = []

    class Stack(Recorder):
        def emit(self, event, level, fields):
            names = [(frame.filename, frame.name) for frame in traceback.extract_stack()]
            announced = max(at for at, (file, _) in enumerate(names) if file.endswith("announce.py"))
            depths.append(len(names) - 1 - announced)  # the announcing function counts, the sink does not

    with steady_state(log=Stack()) as steady:
        warmed(iterations=1)(lambda: 1)()
        steady.measure(lambda: 1)
    assert depths
    assert max(depths) <= 3
