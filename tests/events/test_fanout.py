from __future__ import annotations

import logging
from contextlib import contextmanager

import pytest

from jitwarmup.events import emit, schema
from jitwarmup.events.fanout import WARMUP_STARTED, Details, HookFactory, Hooks
from jitwarmup.events.guard import SafeEmitter
from jitwarmup.events.recorder import Recorder
from jitwarmup.records.errors import ArgumentError

FIELDS = {"schema": "jitwarmup/1", "callable": "f", "duration_s": 1.0, "outcome": "ok"}


def test_every_hook_and_emitter_hears_every_event_in_order():
    heard: list[object] = []
    recorder = Recorder()
    hooks = Hooks(heard.append, recorder, lambda details: heard.append("second"))
    hooks.emit(schema.CALL, "info", FIELDS)
    assert heard == [Details(schema.CALL, "info", FIELDS), "second"]
    assert recorder.events == [{"event": schema.CALL, "level": "info", **FIELDS}]


def test_a_factory_is_called_once_and_only_when_an_event_comes():
    made: list[Recorder] = []

    def make() -> Recorder:
        made.append(Recorder())
        return made[-1]

    hooks = Hooks(HookFactory(make))
    assert made == []
    hooks.emit(schema.CALL, "info", FIELDS)
    hooks.emit(schema.CALL, "info", FIELDS)
    assert [len(recorder) for recorder in made] == [2]


def test_a_hook_that_raises_is_counted_said_once_and_does_not_stop_the_others(capsys):
    def bad(details):
        raise ValueError("secret")

    recorder = Recorder()
    hooks = Hooks(bad, recorder)
    for _ in range(3):
        hooks.emit(schema.CALL, "info", FIELDS)
    said = capsys.readouterr().err
    assert (hooks.lost, len(recorder)) == (3, 3)
    assert said.count("\n") == 1
    assert "raised ValueError" in said
    assert "secret" not in said


def test_a_factory_whose_extra_is_missing_is_said_once(capsys):
    def make():
        raise ImportError("No module named prometheus_client")

    recorder = Recorder()
    hooks = Hooks(HookFactory(make), recorder)
    hooks.emit(schema.CALL, "info", FIELDS)
    hooks.emit(schema.CALL, "info", FIELDS)
    assert len(recorder) == 2
    assert capsys.readouterr().err.count("could not be made (ImportError)") == 1


@pytest.mark.parametrize("sink", [5, "stderr", Recorder, logging.getLogger("x"), None])
def test_what_is_no_hook_is_refused_with_the_way_out(sink):
    with pytest.raises(ArgumentError, match=r"got .*wanted .*adapt"):
        Hooks(sink)


class Span:
    def __init__(self) -> None:
        self.log: list[str] = []

    def __call__(self, details: Details):
        return self.span() if details.event == WARMUP_STARTED else self.log.append(details.event)

    @contextmanager
    def span(self):
        self.log.append("enter")
        try:
            yield
        finally:
            self.log.append("exit")


def test_a_hook_may_span_the_warm_up():
    span, recorder = Span(), Recorder()
    guarded = SafeEmitter(Hooks(span, recorder))
    with guarded.warming({"callable": "f"}):
        span.log.append("runs")
    guarded.emit(schema.CALL, "info", FIELDS)
    assert span.log == ["enter", "runs", "exit", schema.CALL]
    assert len(recorder) == 1  # an emitter hears nothing of the start of a warm-up


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_what_the_warm_up_raises_passes_through_a_spanning_hook(error):
    span = Span()
    with pytest.raises(error), SafeEmitter(Hooks(span)).warming({}):
        raise error
    assert span.log == ["enter", "exit"]


def test_a_spanning_hook_cannot_swallow_what_is_raised_inside():
    class Swallows:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            assert error == (None, None, None)  # it does not even see it
            return True

    with pytest.raises(ValueError, match="mine"), SafeEmitter(Hooks(lambda details: Swallows())).warming({}):
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
def test_a_spanning_hook_that_fails_harms_nobody(where, log, capsys):
    fails, ran = Fails(where), []
    hooks = Hooks(lambda details: fails)
    with SafeEmitter(hooks).warming({}):
        ran.append(1)
    assert (ran, fails.log, hooks.lost) == ([1], log, 1)
    assert f"raised OSError on {where}" in capsys.readouterr().err


def test_an_emitter_whose_warming_raises_harms_nobody(capsys):
    class Bad(Recorder):
        def warming(self, fields):
            raise OSError

    guarded, ran = SafeEmitter(Bad()), []
    with guarded.warming({}):
        ran.append(1)
    assert (ran, guarded.lost) == ([1], 1)


def test_an_emitter_without_warming_spans_nothing():
    with SafeEmitter(Recorder()).warming({}):
        pass


def test_hooks_of_the_process_hear_besides_the_log(caplog):
    caplog.set_level(logging.INFO, "jitwarmup")
    span, recorder = Span(), Recorder()
    emit.set_hooks(HookFactory(lambda: span), recorder)
    try:
        guarded = SafeEmitter(emit.as_emitter(None))
        with guarded.warming({}):
            guarded.emit(schema.CALL, "info", FIELDS)
        with emit.captured(Recorder()), guarded.warming({}):
            guarded.emit(schema.CALL, "info", FIELDS)  # a test that captures events keeps them to itself
    finally:
        emit.set_hooks()
    guarded.emit(schema.CALL, "info", FIELDS)
    with guarded.warming({}):
        pass
    assert len(recorder) == 1
    assert span.log == ["enter", schema.CALL, "exit"]
    assert len(caplog.records) == 2


def test_hooks_hear_even_where_the_operator_silences_the_log(monkeypatch, capsys):
    recorder = Recorder()
    monkeypatch.setattr(emit, "SILENT", True)
    emit.set_hooks(recorder)
    try:
        emit.as_emitter(None).emit(schema.CALL, "info", FIELDS)
    finally:
        emit.set_hooks()
    assert len(recorder) == 1
    assert capsys.readouterr().err == ""


def test_the_usual_log_can_be_one_of_the_hooks(capsys, caplog):
    with caplog.at_level(logging.INFO, "jitwarmup"):
        Hooks(emit.default_emitter()).emit(schema.CALL, "info", FIELDS)
    assert [record.getMessage() for record in caplog.records] == ["jitwarmup.call f 1 s"]
