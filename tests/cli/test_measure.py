"""``jitwarmup measure``: any function, any terminal, any way it may end."""

import json

import pytest

from jitwarmup.cli.progress import Progress
from jitwarmup.records.report import Report
from jitwarmup.records.runs import Phase, Run

QUICK = ("--iterations", 2, "--measurements", 6)


def test_the_result_alone_is_on_stdout(jitwarmup):
    done = jitwarmup("measure", "mine:noisy", "--args", "[500]", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "a print of" not in done.stdout
    assert "a print of" in done.stderr
    assert done.stdout.startswith("mine.noisy\n")
    assert "steady median of 6 clean runs" in done.stdout
    assert "verdict" in done.stdout
    assert "jitwarmup.measurement.completed" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_json_is_one_document_with_the_whole_report(jitwarmup):
    done = jitwarmup("measure", "mine:work", "--kwargs", '{"n": 100}', "--json", *QUICK)
    document = json.loads(done.stdout)
    report = Report.from_dict(document["reports"][0])
    assert len(report.runs) == 1 + 2 + 6
    assert document["interrupted"] is False


def test_a_report_is_saved_and_summed_up_in_markdown(jitwarmup, folder, saved):
    (folder / "summary.md").write_text("before\n")
    done = jitwarmup("measure", "mine.py:work", *QUICK, "--save", "out.jsonl", "--markdown", "summary.md")
    assert done.returncode == 0, done.stderr
    assert Report.from_dict(saved("out.jsonl")[0]).callable == "mine.work"
    assert (folder / "summary.md").read_text().startswith("before\n### mine.work")


@pytest.mark.parametrize("function", ["awaited", "stream"])
def test_every_kind_of_callable_can_be_measured(jitwarmup, function):
    done = jitwarmup("measure", f"mine:{function}", *QUICK)
    assert done.returncode == 0, done.stderr
    assert ("first item" in done.stdout) == (function == "stream")


def test_fresh_makes_the_arguments_of_every_run(jitwarmup):
    assert jitwarmup("measure", "mine:eat", "--args", "[[1]]", "--fresh", "mine:fresh", *QUICK).returncode == 0


def test_until_steady_looks_for_proof(jitwarmup):
    done = jitwarmup("measure", "mine:work", "--args", "[20000]", "--until-steady", "--measurements", 6, "--json")
    decision = json.loads(done.stdout)["reports"][0]["decision"]
    assert decision["state"] in ("proven", "spent")
    assert decision["path"] != "count"


def test_against_measures_both_in_turn_and_compares(jitwarmup, saved):
    words = ("measure", "mine:slow", "--against", "mine:work", "--measurements", 20, "--args", "[20000]", "--save", "s")
    done = jitwarmup(*words, "--fail-on", "steady:5%,recompiles:0")
    assert "gate failed: steady" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1
    assert [report["callable"] for report in saved("s")] == ["mine.work", "mine.slow"]
    starts = [[run["started_at"] for run in report["runs"]] for report in saved("s")]
    for place in range(len(starts[0]) - 1):
        assert max(side[place] for side in starts) < min(side[place + 1] for side in starts)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("measure", "mine"), "wanted package.module:function"),
        (("measure", "nothing_here:f"), "no module 'nothing_here'"),
        (("measure", "mine:nothing"), "mine has no 'nothing'"),
        (("measure", "none.py:f"), "there is no file none.py"),
        (("measure", "mine:runs"), "cannot be called"),
        (("measure", "mine:work", "--args", "{}"), "got a JSON dict"),
        (("measure", "mine:work", "--args", "oops"), "no JSON"),
        (("measure", "mine:work", "--measurements", "0"), "wanted 1 or more"),
        (("measure", "mine:work", "--iterations", "-1"), "wanted a whole number"),
        (("measure", "mine:work", "--fail-on", "steady:5%"), "needs --against"),
        (("measure", "mine:work", "--against", "mine:work", "--fail-on", "x:5%"), "wanted one of cold"),
        (("measure", "mine:work", "--save", "no/such/folder"), "cannot write"),
        (("sweeep",), "invalid choice"),
    ],
)
def test_bad_usage_says_what_was_wanted_and_exits_with_2(jitwarmup, words, wanted):
    done = jitwarmup(*words)
    assert done.returncode == 2
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("at", "phase"), [(1, "validate"), (2, "warm"), (5, "measure")])
def test_a_function_that_fails_exits_with_3_and_its_report_is_saved(jitwarmup, saved, at, phase):
    done = jitwarmup("measure", "mine:fail_at", "--args", f"[{at}]", *QUICK, "--save", "out")
    assert done.returncode == 3
    assert f"failed in {phase} run" in done.stdout
    assert saved("out")[0]["failure"]["phase"] == phase


@pytest.mark.parametrize(("at", "phase", "finished"), [(1, "validate", 0), (2, "warm", 1), (6, "measure", 5)])
def test_interrupted_at_each_phase_exits_with_130_and_keeps_the_finished_runs(jitwarmup, saved, at, phase, finished):
    done = jitwarmup("measure", "mine:interrupt_at", "--args", f"[{at}]", *QUICK, "--save", "part.jsonl")
    assert done.returncode == 130, done.stderr
    assert "what was finished is in part.jsonl" in done.stderr
    report = Report.from_dict(saved("part.jsonl")[0])
    assert [run.outcome for run in report.runs] == ["ok"] * finished + ["cancelled"]
    assert report.runs[-1].phase == phase
    assert report.verdict.reasons[0].kind == "interrupted"
    assert "interrupted" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "body", ["mine.interrupt_at(5)", "if mine.interrupt_soon_at(5):\n        await asyncio.sleep(60)"]
)
def test_an_asynchronous_function_is_interrupted_at_once_awaiting_or_not(jitwarmup, folder, saved, body):
    (folder / "other.py").write_text(f"import asyncio\nimport mine\nasync def f():\n    {body}\n")
    done = jitwarmup("measure", "other:f", *QUICK, "--save", "part")
    assert done.returncode == 130, done.stderr
    assert [run["outcome"] for run in saved("part")[0]["runs"]] == ["ok"] * 4 + ["cancelled"]


def test_interrupted_side_by_side_keeps_both(jitwarmup, saved):
    words = ("measure", "mine:interrupt_at", "--against", "mine:work", "--args", "[4]", *QUICK, "--save", "part")
    assert jitwarmup(*words).returncode == 130
    assert [len(report["runs"]) for report in saved("part")] == [3, 4]  # the fourth was cancelled


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("without_tqdm", [False, True])
@pytest.mark.parametrize("color", [True, False])
def test_on_a_terminal_it_fits_draws_progress_and_minds_no_color(on_terminal, plain, columns, without_tqdm, color):
    more = {} if color else {"NO_COLOR": "1"}
    words = ("measure", "mine:work", "--args", "[2000]", *QUICK)
    code, drawn = on_terminal(*words, columns=columns, without_tqdm=without_tqdm, JITWARMUP_LOG="off", **more)
    assert code == 0, drawn
    assert ("\x1b[1m" in drawn) == color, drawn  # the title's bold
    assert ("\x1b[3" in drawn) == color  # and the verdict's color
    shown = [line.rpartition("\r")[2] for line in plain(drawn).split("\n")]
    assert max(map(len, shown)) <= columns
    assert "steady median of 6 clean runs" in plain(drawn)
    assert ("  warm        0" in plain(drawn)) == without_tqdm  # a line for each run
    assert ("1/1 " in plain(drawn)) != without_tqdm  # or one bar


def test_no_color_as_a_word_is_heard_too(on_terminal):
    _, drawn = on_terminal("measure", "mine:work", "--no-color", *QUICK, without_tqdm=True, JITWARMUP_LOG="off")
    assert "\x1b" not in drawn


def test_a_reader_that_leaves_is_no_error(folder):
    import subprocess
    import sys

    from_here = f"cd {folder} && {sys.executable} -m jitwarmup schema | head -1"
    done = subprocess.run(["bash", "-c", from_here], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr


def test_progress_is_drawn_by_no_thread():
    """A refresh in the middle of a timed run would be part of what is timed."""
    import io
    import threading

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    pytest.importorskip("tqdm")
    before = threading.active_count()
    with Progress(Terminal(), warm=1, measure=1) as drawing:
        drawing(Run(phase=Phase.VALIDATE, index=0, started_at=0.0, duration_ns=1))
        assert threading.active_count() == before


def test_progress_draws_nothing_where_there_is_no_terminal(jitwarmup):
    done = jitwarmup("measure", "mine:work", *QUICK, JITWARMUP_LOG="off")
    assert done.stderr == ""


FOREIGN = {
    "hashlib.sha256": ("hashlib", "hashlib:sha256", ["--args", "[]"]),
    "json.dumps": ("json", "json:dumps", ["--args", '[{"a": [1, 2, 3]}]']),
    "textwrap.wrap": ("textwrap", "textwrap:wrap", ["--args", '["a text to wrap, over and over again", 9]']),
}


@pytest.mark.parametrize("name", sorted(FOREIGN))
def test_functions_of_the_standard_library_can_be_measured(jitwarmup, name):
    _, target, words = FOREIGN[name]
    done = jitwarmup("measure", target, *words, *QUICK)
    assert done.returncode == 0, done.stderr
    assert "steady median of 6 clean runs" in done.stdout


HEAVY = {
    "scipy": ("scipy.special:logsumexp", "--args", "[[1.0, 2.0, 3.0]]", ""),
    "sklearn": ("heavy:predict", "--args", "[100]", ("from sklearn.linear_model import LinearRegression\n"
                "model = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])\n"
                "def predict(n):\n    return model.predict([[1.0]] * n)\n")),
    "transformers": ("heavy:encode", "--args", '["a text to be tokenized"]',
                     ("from tokenizers import Tokenizer, models, pre_tokenizers\n"
                     "from transformers import PreTrainedTokenizerFast\n"
                     "words = {w: i for i, w in enumerate('a text to be tokenized [UNK]'.split())}\n"
                     "core = Tokenizer(models.WordLevel(words, unk_token='[UNK]'))\n"
                     "core.pre_tokenizer = pre_tokenizers.Whitespace()\n"
                     "encode = PreTrainedTokenizerFast(tokenizer_object=core, unk_token='[UNK]').encode\n")),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("package", sorted(HEAVY))
def test_functions_nobody_here_wrote_can_be_measured(jitwarmup, folder, package):
    pytest.importorskip(package)
    target, option, value, source = HEAVY[package]
    (folder / "heavy.py").write_text(source)
    done = jitwarmup("measure", target, option, value, *QUICK, PYTHONWARNINGS="default")
    assert done.returncode == 0, done.stderr
    assert "steady median of 6 clean runs" in done.stdout


def test_several_processes_are_measured_one_after_the_other_and_saved_one_a_line(jitwarmup, saved):
    done = jitwarmup("measure", "mine:work", "--args", "[2000]", *QUICK, "--processes", 2, "--save", "s")
    assert done.returncode == 0, done.stderr
    reports = saved("s")
    assert len({one["environment"]["pid"] for one in reports}) == len(reports) == 2
    assert reports[0]["processes"]["n"] == 2
    assert "median of 2 processes" in done.stdout
    assert done.stdout.count("warm-up, 2 silent runs") == 1
    assert jitwarmup("compare", "s", "s", "--fail-on", "steady:5%").returncode == 5
    assert "5 undecided" in jitwarmup("compare", "--help").stdout.replace("\n", " ")


def test_processes_and_against_are_not_asked_for_together(jitwarmup):
    done = jitwarmup("measure", "mine:work", "--against", "mine:work", "--processes", 2)
    assert done.returncode == 2
    assert "wanted it without --processes" in done.stderr
