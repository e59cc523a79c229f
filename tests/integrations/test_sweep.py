import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog

from jitwarmup import ArgumentError, Report
from jitwarmup.cli import main
from jitwarmup.cli.sweep import tick
from jitwarmup.integrations.sweep import Configuration, Fault, Result, ResultFile, Sweep, exit_code
from jitwarmup.integrations.sweep.configurations import configuration, distinct, from_file, level, product
from jitwarmup.integrations.sweep.export import to_datasets, to_framework
from jitwarmup.integrations.sweep.loading import Loaded, load
from jitwarmup.integrations.sweep.results import revision

SMALL = {"model": "tiny", "prompt_tokens": 16, "new_tokens": 4, "iterations": 1, "measurements": 3}
FAILS_TO_LOAD = {**SMALL, "attention": "flash_attention_2"}
FAILS_VALIDATION = {**SMALL, "sdpa": "cudnn", "attention": "sdpa"}  # no such kernel on a CPU


def six():
    """Six configurations; one cannot load, one loads and cannot generate."""
    good = product({**SMALL, "attention": ["eager", "sdpa"], "batch": [1, 2]})
    return [good[0], configuration(FAILS_TO_LOAD), good[1], configuration(FAILS_VALIDATION), *good[2:]]


@pytest.fixture(autouse=True)
def _structlog_as_found():
    """The command configures it, as a script would."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


# ------------------------------------------------------------------ configurations


def test_a_hash_is_over_all_fields():
    base = Configuration()
    changed = {
        "model": "m",
        "attention": "eager",
        "sdpa": "math",
        "compile_mode": "default",
        "compile_backend": "eager",
        "cache": "static",
        "dtype": "bfloat16",
        "device": "cpu",
    }
    changed |= dict.fromkeys(("batch", "prompt_tokens", "new_tokens", "iterations", "measurements"), 7)
    changed |= {name: not getattr(base, name) for name in ("compile_fullgraph", "compile_all_devices", "kernels")}
    changed |= {"monitoring": False}
    assert set(changed) == set(base.to_dict())
    hashes = {configuration({name: value}).hash for name, value in changed.items()} | {base.hash}
    assert len(hashes) == len(changed) + 1
    assert Configuration.from_dict(base.to_dict()).hash == base.hash


@pytest.mark.parametrize(("number", "count"), [(0, 1), (1, 3), (2, 6), (3, 8), (4, 20)])
def test_the_levels_have_the_framework_s_configurations_once_each(number, count, monkeypatch):
    """Measured in the evidence: 1, 4, 7, 10 and 21 unique ones, continuous batching (1, 2, 2, 1) among them."""
    monkeypatch.setitem(sys.modules, "kernels", None)  # not installed
    found = level(number)
    assert len(found) == count == len({one.hash for one in found})
    assert any(one.attention == "flex_attention" and one.compile_mode for one in found)


def test_a_product_is_every_combination_once():
    found = product({"batch": [1, 2, 1], "dtype": ["float32", "bfloat16"], "model": "tiny"})
    assert [(one.batch, one.dtype) for one in found] == [
        (1, "float32"),
        (1, "bfloat16"),
        (2, "float32"),
        (2, "bfloat16"),
    ]
    assert distinct([*found, *found]) == found


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".yaml"])
def test_a_file_of_any_form_gives_the_same_and_wins_over_the_defaults(tmp_path, suffix):
    entries = [{"batch": [1, 2], "iterations": 50}, {"model": "other"}]
    text = {
        ".json": json.dumps(entries),
        ".jsonl": "\n".join(map(json.dumps, entries)) + "\n\n",
        ".yaml": "- batch: [1, 2]\n  iterations: 50\n- model: other\n",
    }
    path = tmp_path / f"sweep{suffix}"
    path.write_text(text[suffix])
    found = from_file(path, {"iterations": 3, "model": "tiny"})
    assert [(one.model, one.batch, one.iterations) for one in found] == [
        ("tiny", 1, 50),
        ("tiny", 2, 50),
        ("other", 1, 3),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"batchsize": 1}]', "entry 1.*unknown key 'batchsize'"),
        ('[{}, {"batch": 0}]', "entry 2.*batch got 0"),
        ("[1]", "entry 1.*not a mapping"),
        ("{", "cannot read"),
        ('{"compile_mode": "fast"}', "compile_mode got 'fast'"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place_and_the_way_out(tmp_path, text, words):
    path = tmp_path / "sweep.json"
    path.write_text(text)
    with pytest.raises(ArgumentError, match=words):
        from_file(path)


# ------------------------------------------------------------------ the sweep


def test_six_configurations_of_which_two_fail(tmp_path):
    """The four have results, the two say why, the exit code is 1, and a rerun runs only what is missing."""
    ticks = []
    sweep = Sweep(six(), tmp_path / "r.jsonl", on_result=lambda *seen: ticks.append(seen))
    results = sweep.run()
    assert [one.failed for one in results] == [False, True, False, True, False, False]
    assert exit_code(results) == 1
    loading, validating = results[1].fault, results[3].fault
    assert (loading.phase, loading.kind, loading.type) == ("load", "missing_dependency", "ImportError")
    assert "FlashAttention2" in loading.message
    assert results[1].report is None
    assert (validating.phase, validating.type) == ("validate", "RuntimeError")
    assert "scaled_dot_product_attention" in validating.message
    assert results[3].report.latency_s == -1.0
    assert len(results[3].report.runs) == 1  # skipped at once
    for one in (results[0], results[2], results[4], results[5]):
        assert one.report.latency.n == 3
        assert one.report.facts["output_tokens"] == 4
        assert one.report.first_item.n == 3
    assert [(done, total) for done, total, *_ in ticks] == [(number, 6) for number in range(1, 7)]
    assert ticks[-1][3] == 0.0
    assert ticks[0][3] == pytest.approx(5 * results[0].duration_s)

    lines = sweep.file.path.read_text().splitlines()
    assert len(lines) == 6
    again = Sweep(six(), tmp_path / "r.jsonl", load=refuse)
    assert again.run() == results
    sweep.file.path.write_text("\n".join([*lines[:2], *lines[3:5]]) + "\n" + lines[5][:100])  # one gone, one cut
    asked = []
    third = Sweep(six(), tmp_path / "r.jsonl", load=lambda one: asked.append(one.hash) or load(one))
    assert not any(one.failed for one in third.run()[4:])
    assert asked == [six()[2].hash, six()[5].hash]
    assert exit_code(third.run()) == 1
    retried = Sweep(six(), tmp_path / "r.jsonl", retry_failed=True)
    assert {one.hash for one in retried.missing()} == {six()[1].hash, six()[3].hash}


def refuse(one):
    raise AssertionError(f"{one.name} was run again")


class Model:
    """A model that is none: its third measured run fails."""

    def __init__(self):
        self.calls = 0

    def generate(self, **inputs):
        self.calls += 1
        if self.calls == 5:
            raise MemoryError("no room for the fifth")
        return SimpleNamespace(shape=(1, 20))


def test_a_failure_in_a_measured_run_keeps_the_samples_before_it(tmp_path):
    sweep = Sweep([configuration(SMALL)], tmp_path / "r.jsonl", load=lambda _: Loaded(Model(), {}))
    (result,) = sweep.run()
    assert (result.fault.phase, result.fault.kind) == ("measure", "out_of_memory")
    assert result.report.latency.n == 2
    assert result.report.latency_s > 0
    assert exit_code([result]) == 3


def test_a_wrong_number_of_tokens_is_a_failed_validation(tmp_path):
    model = SimpleNamespace(generate=lambda **_: SimpleNamespace(shape=(1, 19)))
    (result,) = Sweep([configuration(SMALL)], tmp_path / "r.jsonl", load=lambda _: Loaded(model, {})).run()
    assert result.fault.phase == "validate"
    assert result.fault.message == "generate() returned (1, 19); wanted (1, 20) tokens"
    assert result.report.failure.type == "MeasurementFailed"


def test_nothing_of_the_user_s_compile_state_is_thrown_away(tmp_path, monkeypatch):
    import torch
    from torch._inductor import codecache

    monkeypatch.setattr(torch._dynamo, "reset", refuse)
    monkeypatch.setattr(codecache.FxGraphCache, "clear", refuse)
    (result,) = Sweep([configuration(SMALL)], tmp_path / "r.jsonl").run()
    assert not result.failed


@pytest.mark.slow
def test_a_process_for_each_configuration_gives_the_same_kinds_of_results(tmp_path):
    chosen = [configuration(SMALL), configuration(FAILS_TO_LOAD)]
    results = Sweep(chosen, tmp_path / "r.jsonl", process=True, timeout_s=120).run()
    assert results[0].report.latency.n == 3
    assert results[1].fault.phase == "load"
    assert results[0].metadata["pid"] != os.getpid()


def test_a_process_that_dies_or_hangs_is_a_failure_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))  # no Python starts there
    (crashed,) = Sweep([configuration(SMALL)], tmp_path / "a.jsonl", process=True).run()
    assert (crashed.fault.kind, crashed.fault.phase) == ("crashed", "process")
    assert "Fatal Python error" in crashed.fault.traceback
    monkeypatch.delenv("PYTHONHOME")
    (hung,) = Sweep([configuration(SMALL)], tmp_path / "b.jsonl", process=True, timeout_s=0.01).run()
    assert hung.fault.kind == "timeout"


# ------------------------------------------------------------------ what is kept


def result_of(one, **over):
    fields = {"hash": one.hash, "name": one.name, "configuration": one, "started_at": 1.0, "duration_s": 2.0}
    return Result(**fields | over)


def test_a_result_survives_the_way_through_the_file(tmp_path):
    fault = Fault(kind="error", phase="load", type="E", message="line\nbreak")
    result = result_of(Configuration(), fault=fault, metadata={"torch": "2", "x": None})
    ResultFile(tmp_path / "deep" / "r.jsonl").append(result)
    assert ResultFile(tmp_path / "deep" / "r.jsonl").read() == {result.hash: result}


def test_a_cut_line_is_ended_before_the_next_is_written(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"hash": "cut')
    ResultFile(path).append(result_of(Configuration()))
    assert list(ResultFile(path).read()) == [Configuration().hash]
    assert len(path.read_text().splitlines()) == 2


def test_a_line_of_another_program_is_refused(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"schema": "other/1"}\n')
    with pytest.raises(ArgumentError, match="schema"):
        ResultFile(path).read()


def git(folder, *words):
    """Run git as nobody in particular, without the machine's settings; what it printed."""
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    env = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(
        ["git", *words], cwd=folder, env=env, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize("layout", ["branch", "detached", "packed", "worktree", "no commit", "none"])
def test_the_revision_is_found_in_every_kind_of_checkout(tmp_path, layout):
    """HuggingFace's opens ``.git/<last word of HEAD>``, which no detached or packed checkout (a CI's) has."""
    place = tmp_path / "checkout"
    (place / "sub").mkdir(parents=True)
    if layout == "none":
        assert revision(Path("/")) == {}
        return
    git(place, "init", "-b", "topic/main")
    if layout == "no commit":
        assert revision(place) == {}
        return
    git(place, "commit", "--allow-empty", "-m", "first")
    wanted = {"commit_id": git(place, "rev-parse", "HEAD"), "branch_name": "topic/main"}
    if layout == "packed":
        git(place, "pack-refs", "--all")
    if layout == "detached":
        git(place, "checkout", "--detach")
        del wanted["branch_name"]
    if layout == "worktree":
        git(place, "worktree", "add", "-b", "other", str(tmp_path / "w"))
        assert revision(tmp_path / "w") == {**wanted, "branch_name": "other"}
    assert revision(place / "sub") == wanted


def test_without_git_there_is_no_revision(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert revision() == {}


# ------------------------------------------------------------------ exports


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept")
    return Sweep([configuration(SMALL), configuration(FAILS_TO_LOAD)], folder / "r.jsonl").run()


CONFIG_KEYS = {
    *("name", "warmup_iterations", "measurement_iterations", "gpu_monitoring", "continuous_batching", "batch_size"),
    *("sequence_length", "num_tokens_to_generate", "attn_implementation", "compile_kwargs", "kernelize"),
}


def test_the_framework_s_layout_has_its_keys_its_places_and_true_times(tmp_path, swept):
    path = to_framework(swept, tmp_path)
    assert path.parent == tmp_path / "tiny"
    assert path.name.startswith("tiny_benchmark_")
    document = json.loads(path.read_text())
    assert list(document) == [one.hash for one in swept]
    good, failed = document.values()
    assert set(good["config"]) == CONFIG_KEYS
    assert set(good["measurements"]) == {
        "e2e_latency",
        "time_to_first_token",
        "inter_token_latency",
        "shape_and_decoded_outputs",
        "gpu_metrics",
        "timestamps",
    }
    hardware = {"gpu_name", "gpu_memory_total_gb", "python_version", "torch_version"}
    assert set(good["metadata"]["hardware_info"]) == hardware
    assert (good["metadata"]["success"], failed["metadata"]["success"]) == (True, False)
    runs = swept[0].report.measured
    assert good["measurements"]["e2e_latency"] == [run.duration_s for run in runs]
    for run, stamps, itl in zip(
        runs, good["measurements"]["timestamps"], good["measurements"]["inter_token_latency"], strict=True
    ):
        assert len(stamps[0]) == 4  # one for each token, and none for end()
        assert itl == pytest.approx((stamps[0][-1] - stamps[0][0]) / 3)
        assert run.first_item_s == stamps[0][0]
    assert failed["measurements"]["e2e_latency"] == []
    assert failed["metadata"]["failure"]["phase"] == "load"


def test_the_datasets_folder_is_plain_rows(tmp_path, swept):
    place = to_datasets(swept, tmp_path / "d")
    for name, full in (("full_results", True), ("summarized_results", False)):
        (path,) = (place / name).glob("benchmark_run_*.jsonl")
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert [row["benchmark_config_hash"] for row in rows] == [one.hash for one in swept]
        assert set(rows[0]) == {"benchmark_config_hash", "config", "measurements", "metadata"}
        assert (rows[0]["measurements"]["timestamps"] is not None) is full


@pytest.mark.slow
def test_the_datasets_library_reads_the_folder(tmp_path, swept):
    pytest.importorskip("datasets")
    script = (
        "import sys, datasets; p = sys.argv[1]\n"
        "a = datasets.load_dataset(p, 'full_results', split='train', cache_dir=p + '/cache')\n"
        "b = datasets.load_dataset(p, 'summarized_results', split='train', cache_dir=p + '/cache')\n"
        "print(len(a), len(b), a[0]['metadata']['success'], b[1]['metadata']['success'])"
    )
    place = to_datasets(swept, tmp_path / "d")
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script, str(place)], capture_output=True, text=True, env=env, check=False
    )
    assert done.stdout.split() == ["2", "2", "True", "False"], done.stderr


# ------------------------------------------------------------------ the command

WORDS = ["--model", "tiny", "--prompt-tokens", "8", "--new-tokens", "2", "--iterations", "0", "--measurements", "2"]


def test_the_command_runs_shows_and_exports(tmp_path, capsys):
    words = ["sweep", *WORDS, "--results", str(tmp_path / "r.jsonl"), "--attention", "eager", "flash_attention_2"]
    assert main([*words, "--export-framework", str(tmp_path / "f")]) == 1
    out = capsys.readouterr().out
    assert "failed in load: tiny-b1-p8-n2-flash_attention_2-uncompiled: missing_dependency: ImportError" in out
    assert "tiny-b1-p8-n2-eager-uncompiled" in out
    assert "0 ns" not in out
    assert len(list((tmp_path / "f").rglob("*.json"))) == 1
    assert main([*words, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [one["failed"] for one in document["results"]] == [False, True]
    assert "latency_s" not in document["results"][1]


def test_all_failed_is_exit_code_3_and_a_wrong_word_is_2(tmp_path, capsys):
    results = str(tmp_path / "r.jsonl")
    assert main(["sweep", *WORDS, "--results", results, "--attention", "flash_attention_2"]) == 3
    assert main(["sweep", *WORDS, "--results", results, "--file", "not there.json"]) == 2
    assert "cannot read configurations" in capsys.readouterr().err


def test_the_list_says_what_is_to_do_and_runs_nothing(tmp_path, capsys):
    assert main(["sweep", "--level", "2", "--model", "tiny", "--results", str(tmp_path / "r.jsonl"), "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert all("to do" in line for line in lines)
    assert not (tmp_path / "r.jsonl").exists()


def test_progress_has_an_eta_and_is_drawn_on_a_terminal_only():
    drawn = []
    terminal = SimpleNamespace(isatty=lambda: True, write=drawn.append, flush=lambda: None)
    fault = Fault(kind="error", phase="load", type="ImportError", message="")
    tick(1, 3, result_of(Configuration(), fault=fault), 4.0, terminal)
    assert "[1/3]" in drawn[0]
    assert "failed in load: ImportError" in drawn[0]
    assert "about 4 s left" in drawn[0]
    tick(1, 3, result_of(Configuration()), 4.0, SimpleNamespace(isatty=lambda: False))
    assert len(drawn) == 1


def test_a_report_in_a_result_is_read_back_whole(swept):
    report = swept[0].report
    assert isinstance(report, Report)
    assert report.facts["generate_calls"] == 3
    assert len(report.runs) == 1 + 1 + 3
