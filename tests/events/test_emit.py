from __future__ import annotations

import contextlib
import logging
import os
import re
import subprocess
import sys
import textwrap

import pytest
import structlog

from jitwarmup.events import emit, schema, sinks
from jitwarmup.events.sinks import LoggingEmitter, Recorder, StderrLines, StructlogEmitter
from jitwarmup.records.errors import ArgumentError

FIELDS = {"schema": "jitwarmup/1", "callable": "module.generate", "duration_s": 0.0123, "outcome": "ok"}
LINE = "jitwarmup.call module.generate 12.3 ms"
PRELUDE = """
import sys
from jitwarmup.events import emit, schema, sinks
out = emit.default_emitter()
fields = schema.build(schema.CALL, {"callable": "module.generate", "duration_s": 0.0123, "outcome": "ok"})
def send(): out.emit(schema.CALL, "info", fields)
"""


def run(script: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a bare one, in a process of its own where nothing is configured."""
    code = PRELUDE + textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": "", **env},
    )


def test_a_bare_script_gets_short_lines_on_stderr_and_nothing_on_stdout():
    ended = run("send()")
    assert (ended.stdout, ended.stderr) == ("", LINE + "\n")


def test_emitting_imports_neither_structlog_nor_torch():
    assert run("send(); print({'structlog', 'torch', 'numpy'} & set(sys.modules))").stdout == "set()\n"


def test_an_imported_but_unconfigured_structlog_does_not_count():
    ended = run("import structlog; send()")
    assert (ended.stdout, ended.stderr) == ("", LINE + "\n")


def test_after_capture_logs_nothing_goes_to_stdout():
    ended = run("""
        import structlog
        with structlog.testing.capture_logs() as logs:
            send()
        assert structlog.is_configured()
        send()
        assert len(logs) == 1, logs
        """)
    assert (ended.stdout, ended.stderr) == ("", LINE + "\n")


def test_configuring_only_a_wrapper_class_does_not_count():
    ended = run(
        "import structlog; structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(20)); send()"
    )
    assert (ended.stdout, ended.stderr) == ("", LINE + "\n")


def test_a_factory_alone_counts_as_configured():
    ended = run(
        "import structlog; structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr)); send()"
    )
    assert ended.stdout == ""
    assert "module.generate" in ended.stderr
    assert LINE not in ended.stderr


def test_a_later_configure_is_followed():
    ended = run("""
        import structlog
        send()
        structlog.configure(
            processors=[structlog.processors.KeyValueRenderer(key_order=["event"])],
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )
        send()
        structlog.reset_defaults()
        send()
        """)
    first, second, third = ended.stderr.splitlines()
    assert first == third == LINE
    assert second.startswith("event='jitwarmup.call' ")
    assert "duration_s=0.0123" in second


def test_standard_logging_is_used_where_it_is_configured():
    ended = run("import logging; logging.basicConfig(level=20, format='%(name)s|%(message)s|%(duration_s)r'); send()")
    assert (ended.stdout, ended.stderr) == ("", f"jitwarmup|{LINE}|0.0123\n")


def test_logging_without_a_handler_or_with_a_null_one_is_not_configured():
    ended = run("import logging; logging.getLogger('jitwarmup').addHandler(logging.NullHandler()); send()")
    assert (ended.stdout, ended.stderr) == ("", LINE + "\n")


def test_a_handler_beyond_a_logger_that_does_not_propagate_does_not_count():
    ended = run("""
        import logging
        logging.basicConfig(level=20)
        logging.getLogger("jitwarmup").propagate = False
        send()
        """)
    assert (ended.stdout, ended.stderr) == ("", LINE + "\n")


def test_the_level_of_a_configured_logger_decides():
    ended = run("""
        import logging
        logging.basicConfig(level=30)
        send()
        out.emit(schema.STEADY_STATE_LOST, "warning", {"callable": "f", "reason": "r"})
        """)
    assert (ended.stdout, ended.stderr) == ("", "WARNING:jitwarmup:jitwarmup.steady_state.lost f r\n")


@pytest.mark.parametrize("value", ["off", "OFF", " off "])
def test_jitwarmup_log_off_silences_every_way(value):
    ended = run(
        """
        import logging, structlog
        send()
        logging.basicConfig(level=0)
        send()
        emit.as_emitter(logging.getLogger()).emit(schema.CALL, "info", fields)
        with structlog.testing.capture_logs() as logs:
            send()
            emit.as_emitter(structlog.get_logger()).emit(schema.CALL, "info", fields)
        assert logs == []
        """,
        JITWARMUP_LOG=value,
    )
    assert (ended.stdout, ended.stderr) == ("", "")


def test_a_recorder_hears_even_where_the_operator_wants_silence(monkeypatch):
    monkeypatch.setattr(emit, "SILENT", True)
    recorder = Recorder()
    emit.as_emitter(recorder).emit(schema.CALL, "info", FIELDS)
    assert recorder.events == [{"event": schema.CALL, "level": "info", **FIELDS}]


@pytest.mark.parametrize("stderr", ["None", "closed"])
def test_a_stderr_that_is_gone_is_fine(stderr):
    make = "sys.stderr = None" if stderr == "None" else "sys.stderr.close()"
    assert run(f"{make}\nsend()\nprint('on')").stdout == "on\n"


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_stderr_whose_reader_stands_still_holds_nobody_up():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    code = PRELUDE + "for _ in range(1000): out.emit(schema.SUMMARY, 'info', fields)\nprint('on')"
    command = [sys.executable, "-c", code]
    env = {"PYTHONPATH": ":".join(sys.path)}
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=writer, text=True, timeout=20, env=env, check=True)
    os.close(reader)
    os.close(writer)
    assert ended.stdout == "on\n"


def test_calls_thin_out_by_function_and_other_events_do_not():
    ended = run("""
        for _ in range(250):
            send()
        fields = {**fields, "callable": "other"}
        send()
        for _ in range(12):
            out.emit(schema.SUMMARY, "info", {"callable": "f", "count": 1, "sum_s": 1.0})
        """)
    lines = ended.stderr.splitlines()
    shown = [LINE] * 9 + [f"{LINE} (call {number})" for number in (*range(10, 101, 10), 200)]
    for step in (10, 100):  # and says so where it begins
        shown[shown.index(f"{LINE} (call {step})")] = (
            f"{LINE} (call {step}, of those that follow every {step}th is shown)"
        )
    assert lines[: len(shown)] == shown
    assert lines[len(shown)] == "jitwarmup.call other 12.3 ms"
    assert lines[len(shown) + 1 :] == ["jitwarmup.summary f 1 call in 1 s"] * 12


def test_beyond_many_functions_the_lines_thin_out_together(capsys):
    lines = StderrLines()
    for number in range(sinks.MOST_FUNCTIONS + 30):
        lines.emit(schema.CALL, "info", {**FIELDS, "callable": f"f{number}"})
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == sinks.MOST_FUNCTIONS + 12
    assert shown[-1].endswith("(call 30)")


def test_a_silent_level_makes_no_line(caplog):
    logger = logging.getLogger("jitwarmup.test.silent")
    logger.setLevel(logging.ERROR)
    LoggingEmitter(logger).emit(schema.CALL, "info", FIELDS)
    assert caplog.records == []


def test_the_calls_that_are_shown_are_the_round_ones(capsys):
    lines = StderrLines()
    for _ in range(3000):
        lines.emit(schema.CALL, "info", FIELDS)
    shown = re.findall(r"\(call (\d+)[,)]", capsys.readouterr().err, re.MULTILINE)
    assert [int(number) for number in shown] == [*range(10, 101, 10), *range(200, 1001, 100), 2000, 3000]


def test_capture_logs_sees_the_whole_event():
    with structlog.testing.capture_logs() as logs:
        emit.default_emitter().emit(schema.CALL, "info", FIELDS)
    assert logs == [{"event": "jitwarmup.call", "log_level": "info", **FIELDS}]


def test_a_record_carries_the_fields(caplog):
    with caplog.at_level(logging.INFO, "jitwarmup"):
        emit.default_emitter().emit(schema.CALL, "info", FIELDS)
    (record,) = caplog.records
    assert record.getMessage() == LINE
    assert {key: getattr(record, key) for key in FIELDS} == FIELDS
    assert record.event == "jitwarmup.call"


async def speak_async() -> list[dict[str, object]]:
    with structlog.testing.capture_logs() as logs:
        emit.default_emitter().emit(schema.CALL, "info", FIELDS)
    return logs


def test_an_async_bound_logger_is_reached_through_its_synchronous_half():
    import asyncio

    structlog.configure(
        wrapper_class=structlog.stdlib.AsyncBoundLogger, logger_factory=structlog.stdlib.LoggerFactory()
    )
    assert asyncio.run(speak_async()) == [{"event": "jitwarmup.call", "log_level": "info", **FIELDS}]


def test_an_async_bound_logger_is_reached_from_a_thread_where_no_loop_runs():
    structlog.configure(
        wrapper_class=structlog.stdlib.AsyncBoundLogger, logger_factory=structlog.stdlib.LoggerFactory()
    )
    with structlog.testing.capture_logs() as logs:
        emit.default_emitter().emit(schema.CALL, "info", FIELDS)
    assert logs == [{"event": "jitwarmup.call", "log_level": "info", **FIELDS}]


def test_each_kind_of_log_is_adapted():
    assert emit.as_emitter(None) is emit.default_emitter()
    assert isinstance(emit.as_emitter(logging.getLogger("x")), LoggingEmitter)
    for log in (structlog.get_logger(), structlog.get_logger().bind(a=1), structlog.stdlib.get_logger("x")):
        assert isinstance(emit.as_emitter(log), StructlogEmitter)
    recorder = Recorder()
    assert emit.as_emitter(recorder) is recorder


def test_a_bound_logger_keeps_what_was_bound_to_it():
    with structlog.testing.capture_logs() as logs:
        emit.as_emitter(structlog.get_logger().bind(service="chat")).emit(schema.CALL, "info", FIELDS)
    assert logs[0]["service"] == "chat"


@pytest.mark.parametrize(
    "log",
    [5, "stderr", print, sys.stderr, logging.NullHandler(), logging.LoggerAdapter(logging.root), Recorder, object()],
)
def test_what_is_no_log_is_refused_with_the_way_out(log):
    with pytest.raises(ArgumentError, match=r"got .*wanted .*Hand over"):
        emit.as_emitter(log)


def test_a_recorder_can_be_asked():
    recorder = Recorder()
    recorder.emit("a", "info", {"x": 1})
    recorder.emit("b", "info", {})
    assert recorder.named("a") == [recorder[0]] == [{"event": "a", "level": "info", "x": 1}]
    assert [entry["event"] for entry in recorder] == ["a", "b"]
    recorder.clear()
    assert len(recorder) == 0
