"""``compare``, ``report``, ``schema`` and ``doctor``, run as commands."""

import json
import os
import pathlib
import sys

import pytest

from jitwarmup.analysis.sides import read_sides
from jitwarmup.cli import COMMANDS, checks, main
from jitwarmup.cli.checks import Finding, governor, quota
from jitwarmup.cli.doctor import examined
from jitwarmup.records.errors import ArgumentError

ROOT = pathlib.Path(__file__).parent.parent.parent
QUICK = ("--iterations", "2", "--measurements", "12")


@pytest.fixture
def two(folder, monkeypatch, capsys):
    """Two saved files: ``a`` and ``b`` of the same function."""
    monkeypatch.chdir(folder)
    for name in ("a.jsonl", "b.jsonl"):
        assert main(["measure", "json:dumps", "--args", '[{"a": [1, 2, 3]}]', *QUICK, "--save", name]) == 0
    capsys.readouterr()
    return folder


def scaled(path, factor, compiles=0):
    """A saved report whose measured runs took ``factor`` times as long, with so many compiles in its validation."""
    document = json.loads(path.read_text())
    document.pop("first_run", None)  # of a function that ran before: it is the validation here
    for run in document["runs"]:
        run["duration_ns"] = int(1e6 * factor) + run["index"] * 100
        run["wait_s"] = 0.0
    if compiles:
        document["runs"][0]["work"] = [{"kind": "dynamo.capture", "count": compiles}]
    path.write_text(json.dumps(document) + "\n")


def test_a_gate_that_fails_exits_with_1_and_one_that_holds_with_0(two, capsys):
    scaled(two / "a.jsonl", 1.0, compiles=1)
    scaled(two / "b.jsonl", 1.2, compiles=1)
    assert main(["compare", "a.jsonl", "b.jsonl"]) == 0
    assert main(["compare", "a.jsonl", "b.jsonl", "--fail-on", "recompiles:0"]) == 0
    assert main(["compare", "a.jsonl", "b.jsonl", "--fail-on", "steady:5%"]) == 1
    assert "gate failed: steady: +20" in capsys.readouterr().out
    assert main(["compare", "a.jsonl", "b.jsonl", "--fail-on", "cold:30%,recompiles:0"]) == 5
    assert "gate undecided: cold: +20" in capsys.readouterr().out


def test_a_change_in_compile_count_alone_fails_its_gate(two, capsys):
    scaled(two / "a.jsonl", 1.0, compiles=1)
    scaled(two / "b.jsonl", 1.0, compiles=3)
    assert main(["compare", "a.jsonl", "b.jsonl", "--fail-on", "steady:5%,cold:5%"]) == 5  # one process each
    assert main(["compare", "a.jsonl", "b.jsonl", "--fail-on", "steady:5%,cold:5%,recompiles:0"]) == 1
    assert main(["compare", "a.jsonl", "b.jsonl", "--fail-on", "recompiles:2"]) == 0
    assert "dynamo.capture 1 -> 3" in capsys.readouterr().out


def test_compare_speaks_json_and_markdown(two, capsys):
    words = ["compare", "a.jsonl", "b.jsonl", "--json", "--markdown", "out.md", "--fail-on", "recompiles:0"]
    assert main(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["comparisons"][0]["ratios"][0]["metric"] == "cold"
    assert document["comparisons"][0]["gates"][0]["failed"] is False
    assert "against json.dumps" in (two / "out.md").read_text()


def test_a_function_that_went_missing_fails_a_gated_comparison(two, capsys):
    one = json.loads((two / "a.jsonl").read_text())
    (two / "both.jsonl").write_text(
        "".join(json.dumps(one | {"callable": name}) + "\n" for name in ("json.dumps", "g"))
    )
    (two / "less.jsonl").write_text(json.dumps(one) + "\n" + json.dumps(one | {"callable": "h"}) + "\n")
    assert main(["compare", "both.jsonl", "less.jsonl"]) == 0
    assert main(["compare", "both.jsonl", "less.jsonl", "--fail-on", "steady:500%"]) == 1
    assert "only in one file: g" in capsys.readouterr().out


def test_files_that_are_none_of_ours_exit_with_2(two, capsys):
    (two / "other.json").write_text('{"x": 1}')
    assert main(["compare", "a.jsonl", "other.json"]) == 2
    assert main(["compare", "a.jsonl", "none.json"]) == 2
    assert main(["report", "other.json"]) == 2
    err = capsys.readouterr().err
    assert "got no report" in err
    assert "cannot read none.json" in err


def test_a_log_of_events_can_be_compared():
    call = {"schema": "jitwarmup/1", "event": "jitwarmup.call", "callable": "f", "outcome": "ok", "contaminated": False}
    lines = [{"schema": "jitwarmup/1", "event": "jitwarmup.validation.completed", "callable": "f", "duration_s": 3.0}]
    lines += [call | {"duration_s": 0.1 + at / 1e4} for at in range(12)] + [
        call | {"duration_s": 9, "contaminated": True}
    ]
    text = "a line of another program\n" + "\n".join(map(json.dumps, [*lines, {"schema": "other/1"}]))
    side = read_sides(text)["f"]
    assert side.cold_s == (3.0,)
    assert len(side.steady[0].seconds) == 12
    assert side.compiles is None


def test_a_newer_report_is_refused_by_name(two):
    document = json.loads((two / "a.jsonl").read_text()) | {"schema": "jitwarmup.report/9"}
    with pytest.raises(ArgumentError, match="update jitwarmup"):
        read_sides(json.dumps(document))


def test_report_writes_a_page_or_markdown(two, capsys):
    assert main(["report", "a.jsonl", "b.jsonl", "-o", "out.html", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    page = (two / "out.html").read_text()
    assert document["reports"] == 2
    assert document["bytes"] == len(page.encode()) < 150_000
    assert page.startswith("<!doctype html>")
    assert page.count("<h1>") == 2
    assert main(["report", "a.jsonl", "-o", "out.md"]) == 0
    assert (two / "out.md").read_text().startswith("### json.dumps")


def test_report_without_matplotlib_says_so_and_still_writes_the_page(jitwarmup, two):
    (two / "matplotlib.py").write_text("raise ImportError\n")
    code = "import importlib.util as u, sys; find = u.find_spec; "
    code += "u.find_spec = lambda name, *rest: None if name == 'matplotlib' else find(name, *rest); "
    code += "from jitwarmup.cli import main; sys.exit(main(['report', 'a.jsonl', '-o', 'out.html']))"
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=two,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert "pip install 'jitwarmup[report]'" in done.stderr
    page = (two / "out.html").read_text()
    assert "<svg" not in page
    assert page.count("<tr><td>measure") == 12


def test_report_without_jinja2_says_what_to_install(two, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["report", "a.jsonl", "-o", "out.html"]) == 4
    assert "pip install 'jitwarmup[report]'" in capsys.readouterr().err
    assert not (two / "out.html").exists()
    assert main(["report", "a.jsonl", "-o", "out.md"]) == 0


def test_schema_is_a_json_schema(capsys):
    assert main(["schema"]) == 0
    assert "jitwarmup.call" in json.loads(capsys.readouterr().out)["$defs"]
    assert main(["schema", "--json"]) == 0
    assert capsys.readouterr().out.count("\n") == 1
    assert main(["schema", "--table"]) == 0
    assert "| `jitwarmup.call` |" in capsys.readouterr().out


def test_every_command_answers_to_help(capsys):
    for command in COMMANDS:
        with pytest.raises(SystemExit) as left:
            main([command, "--help"])
        assert left.value.code == 0
        assert f"jitwarmup {command}" in capsys.readouterr().out


# ------------------------------------------------------------------ doctor


def test_doctor_looks_at_everything_that_is_promised(jitwarmup):
    done = jitwarmup("doctor", "--json", PYTHONWARNINGS="default")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["findings"]
    names = {(one["area"], one["name"]) for one in found}
    assert {"software", "device", "host", "caches", "logging", "probes"} <= {area for area, _ in names}
    for name in ("torch", "transformers", "nvidia-ml-py", "structlog", "driver", "CPU governor", "cores", "load"):
        assert name in {name for _, name in names}, name
    assert {"dynamo", "inductor", "cudagraph", "allocator", "triton", "transformers"} <= {
        name for area, name in names if area == "probes"
    }
    for one in found:
        assert one["state"] == "ok" or one["way_out"], one


@pytest.mark.parametrize("columns", [80, 200])
def test_doctor_fits_the_terminal(on_terminal, plain, columns):
    code, drawn = on_terminal("doctor", columns=columns)
    assert code == 0
    assert max(map(len, plain(drawn).split("\n"))) <= columns
    assert "\x1b[" in drawn


def test_what_would_spoil_a_measurement_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "none"))
    (tmp_path / "entry").touch()
    states = {one.name: one.state for check in (checks.process, checks.caches) for one in check()}
    assert states["CUDA_LAUNCH_BLOCKING"] == states["inductor cache"] == "warn"
    assert states["triton cache"] == "ok"


def test_the_governor_and_the_quota_are_read_as_the_kernel_tells_them(tmp_path):
    file = tmp_path / "file"
    for text, state in (("performance\n", "ok"), ("powersave\n", "warn")):
        file.write_text(text)
        assert governor(file).state == state
    assert governor(tmp_path / "none").state == "absent"
    for text, state in (("max 100000\n", "ok"), ("150000 100000\n", "warn")):
        file.write_text(text)
        assert quota(file).state == state


def test_a_check_that_breaks_is_a_finding_and_keeps_what_it_found():
    def broken():
        yield Finding("first", "ok")
        raise RuntimeError

    assert [(one.name, one.state) for one in examined(broken)] == [("first", "ok"), ("broken", "absent")]
