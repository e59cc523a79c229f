"""Where the events of a whole program go, in processes of their own: structlog, logging, stderr, or nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import jitwarmup

@jitwarmup.warmed(iterations=1)
def f(x):
    return x

f(1)
f(1)
with jitwarmup.steady_state(iterations=0, measurements=1) as steady:
    steady.measure(lambda: None)
"""


def run(before, program=PROGRAM, after="", **env):
    done = subprocess.run(
        [sys.executable, "-c", before + program + after],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def names(lines):
    """The first word of each line, without the common beginning."""
    return [line.split()[0].removeprefix("jitwarmup.") for line in lines]


WHOLE = [
    *["validation.completed", "warmup.completed", "call", "call"],
    *["validation.completed", "warmup.completed", "measurement.completed", "block.completed"],
]


@pytest.mark.parametrize("before", ["", "import structlog\n", "import logging, structlog\nlogging.getLogger('x')\n"])
def test_a_bare_script_sees_short_lines_on_stderr_and_nothing_on_stdout(before) -> None:
    done = run(before)
    assert done.stdout == ""
    assert names(done.stderr.splitlines()) == WHOLE
    assert all(len(line) < 200 for line in done.stderr.splitlines())


def test_after_capture_logs_was_used_stdout_still_gets_nothing() -> None:
    before = """
import structlog
from structlog.testing import capture_logs
import jitwarmup
with capture_logs() as captured:
    jitwarmup.warmed(iterations=0)(lambda: None)()
assert [entry["event"] for entry in captured] == [
    "jitwarmup.validation.completed", "jitwarmup.warmup.completed", "jitwarmup.call"], captured
assert all(entry["schema"] == "jitwarmup/1" and "callable" in entry and "log_level" in entry for entry in captured)
"""
    done = run(before)
    assert done.stdout == ""
    assert names(done.stderr.splitlines()) == WHOLE


def test_with_structlog_configured_each_event_goes_through_its_processors_and_nowhere_else() -> None:
    done = run("""
import structlog
structlog.configure(processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()])
""")
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    assert [entry["event"].removeprefix("jitwarmup.") for entry in entries] == WHOLE
    assert {entry["level"] for entry in entries} == {"info"}
    assert done.stderr == ""


def test_a_later_configuration_is_found_at_emit_time() -> None:
    done = run(
        "",
        after="""
import structlog
structlog.configure(processors=[structlog.processors.JSONRenderer()])
f(1)
""",
    )
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["jitwarmup.call"]
    assert names(done.stderr.splitlines()) == WHOLE


def test_with_only_logging_configured_the_message_is_the_short_line_and_the_fields_are_extra() -> None:
    done = run("""
import logging, sys
class Show(logging.Handler):
    def emit(self, record):
        print(record.levelname, record.name, record.getMessage().split()[0], record.callable, record.schema, record.event)
logging.basicConfig(handlers=[Show()], level=logging.INFO)
""")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[2].removeprefix("jitwarmup.") for line in lines] == WHOLE
    assert all(line[:2] == ["INFO", "jitwarmup"] and line[4:] == ["jitwarmup/1", line[2]] for line in lines)
    assert done.stderr == ""


def test_the_level_of_the_logger_decides() -> None:
    done = run("import logging\nlogging.basicConfig(level=logging.WARNING)\n")
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(
    "before",
    [
        "",
        "import logging\nlogging.basicConfig(level=0)\n",
        "import structlog\nstructlog.configure(processors=[structlog.processors.JSONRenderer()])\n",
    ],
)
@pytest.mark.parametrize("switch", [{"JITWARMUP_LOG": "off"}, {"JITWARMUP": "off"}])
def test_switched_off_nothing_goes_anywhere(before, switch) -> None:
    done = run(before, **switch)
    assert (done.stdout, done.stderr) == ("", "")


def test_switched_off_by_the_environment_every_call_is_the_plain_call() -> None:
    program = """
import jitwarmup
runs = []
f = jitwarmup.warmed(lambda: runs.append(1))
f(); f()
print(len(runs), f.ready, f.state)
"""
    assert run("", program, JITWARMUP="off").stdout == "2 True cold\n"
    assert run("", program, JITWARMUP="on", JITWARMUP_LOG="off").stdout == "8 True warm\n"


def test_a_log_of_the_users_own_gets_the_events_of_a_block_and_the_default_way_none_of_them() -> None:
    done = run(
        "",
        """
import jitwarmup, structlog
class Mine:
    def emit(self, event, level, fields):
        print(event, level, fields["callable"])
log = structlog.wrap_logger(structlog.PrintLogger(), processors=[structlog.processors.JSONRenderer()])
for sink in (Mine(), log):
    with jitwarmup.steady_state(log=sink, iterations=0, measurements=1, name="mine") as steady:
        steady.measure(len, "abc")
""",
    )
    lines = done.stdout.splitlines()
    assert [line.split()[1:] for line in lines[:4]] == [["info", "mine"]] * 4
    assert [json.loads(line)["event"] for line in lines[4:]] == [line.split()[0] for line in lines[:4]]
    assert done.stderr == ""
