"""Files that are no files, too large, torn, foreign or full of nonsense: one line, exit code 2, and nothing is lost."""

import copy
import functools
import json
import math
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jitwarmup import ArgumentError, Report, warmed
from jitwarmup.events.json_lines import JsonLines
from jitwarmup.integrations.sweep import Configuration, Fault, Result, ResultFile, Sweep
from jitwarmup.integrations.sweep.export import to_framework
from jitwarmup.records import files

ROOT = Path(__file__).parents[2]
HUGE = "9" * 400


SAVED = []  # made once


@pytest.fixture
def good(make_report, tmp_path):
    """A saved report in the test's folder, as a document."""
    if not SAVED:
        SAVED.append(json.dumps(make_report(stream=True, device=True, marked=(3,)).to_dict()) + "\n")
    (tmp_path / "good.jsonl").write_text(SAVED[0])
    return json.loads(SAVED[0])


def refused(answer, place="", *, shown=False):
    """One line, exit code 2; the line names the place. Nothing else is shown, or the result that could not be saved."""
    code, out, err = answer
    assert code == 2
    assert shown or out == ""
    assert err.startswith("jitwarmup")
    assert err.count("\n") == 1
    assert len(err) < 2300
    assert place in err


RAW = {  # what a file holds -> bytes
    "nothing": b"",
    "spaces": b" \n \n",
    "null": b"null",
    "a text": b'"report"',
    "a number": b"1",
    "a huge number": HUGE.encode(),
    "a longer number": b"9" * 5000,
    "not a number": b"NaN",
    "open brackets": b"[" * 200_000,
    "nested lists": b"[" * 20_000 + b"]" * 20_000,
    "nested reports": b'{"report":' * 900 + b"1" + b"}" * 900,
    "deeper reports": b'{"report":' * 50_000 + b"1" + b"}" * 50_000,
    "half a report": b'{"schema": "jitwarmup.report/1", "callable": "f", "ru',
    "no UTF-8": b'{"schema": "jitwarmup.report/1", "callable": "\xff\xfe"}',
    "UTF-16": '{"schema": "jitwarmup.report/1"}'.encode("utf-16"),
    "binary": bytes(range(256)) * 40,
    "zeros": b"\0" * 5000,
    "a foreign schema": b'{"schema": "hyperfine/1", "callable": "f"}',
    "a newer schema": b'{"schema": "jitwarmup.report/2", "callable": "f", "runs": []}',
    "a bare report": b'{"schema": "jitwarmup.report/1"}',
    "another kind's": b'{"schema": "jitwarmup.report/1", "callable": [], "runs": {}}',
    "a foreign log": b"GET / 200\n\xff\n" + b"[" * 9000 + b'\n{"event": "x"}\n',
    "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins\x94.",
    "YAML": b"!!python/object/apply:os.system ['true']",
}


def spoil(folder, kind):
    """A path at which something else than a readable file is."""
    path = folder / "bad"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to nothing":
        path.symlink_to("nowhere")
    elif kind == "link to itself":
        path.symlink_to(path)
    elif kind == "link to a folder":
        path.symlink_to(folder)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "long name":
        return "n" * 300
    elif kind == "file in a file":
        path.write_bytes(b"")
        return path / "x"
    return path


PLACES = ("missing", "folder", "pipe", "device", "link to nothing", "link to itself", "link to a folder")
PLACES += ("long name", "file in a file")
READERS = {  # command -> its words, the bad file among them
    "report": ("report", "{}"),
    "report after a good one": ("report", "good.jsonl", "{}"),
    "compare": ("compare", "{}", "good.jsonl"),
    "compared": ("compare", "good.jsonl", "{}", "--fail-on", "steady:5%"),
    "args": ("measure", "json:dumps", "--args", "@{}"),
    "kwargs": ("measure", "json:dumps", "--kwargs", "@{}"),
    "sweep": ("sweep", "--list", "--file", "{}"),
    "results": ("sweep", "--list", "--model", "tiny", "--results", "{}"),
}
CUT = [
    "nothing",
    "spaces",
    "open brackets",
    "nested lists",
    "nested reports",
    "deeper reports",
    "half a report",
    "zeros",
]
BORNE = {  # an object is good for keywords, which the function then refuses; a cut line of results is passed over
    "kwargs": ["nested reports", "a foreign schema", "a newer schema", "a bare report", "another kind's"],
    "results": [*CUT, "a longer number", "YAML", "missing", "long name", "file in a file"],
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", [*RAW, *PLACES])
def test_a_file_that_cannot_be_read_is_one_line(command, good, tmp_path, reader, kind):
    path = spoil(tmp_path, kind)
    if kind in RAW:
        path.write_bytes(RAW[kind])
    answer = command(*(word.format(path) for word in READERS[reader]))
    if kind in BORNE.get(reader, ()):
        assert answer[0] in (0, 2, 3)
    else:
        refused(answer, "" if "args" in reader else str(path))


ARGUMENTS = [
    "|nothing|measure|report|compare|compare good.jsonl|sweep --level|schema x|doctor --nothing|--version=3",
    "measure json|measure :|measure json:|measure :dumps|measure ..:f|measure .:f|measure json:nothing|measure json:dumps.x.y",
    "measure json:decoder|measure no.such:f|measure json.nothing:f|measure nothing.py:f|measure good.jsonl:f|measure .py:f",
    "measure raises.py:f|measure exits.py:f|measure syntax.py:f|measure binary.py:f|measure recursion.py:f|measure lazy.py:f",
    "measure json:dumps --args 1|measure json:dumps --args {}|measure json:dumps --args [|measure json:dumps --kwargs []",
    "measure json:dumps --kwargs 1|measure json:dumps --args @|measure json:dumps --args NaN|measure json:dumps --args null",
    "measure json:dumps --iterations x|measure json:dumps --iterations -1|measure json:dumps --iterations 1.5",
    "measure json:dumps --measurements 0|measure json:dumps --measurements -3|measure json:dumps --measurements x",
    "measure json:dumps --budget nan|measure json:dumps --budget inf|measure json:dumps --budget -1|measure json:dumps --budget 0",
    "measure json:dumps --budget 1e400|measure json:dumps --fail-on steady:5%|measure json:dumps --against|measure --args []",
    "measure json:dumps --against nothing:f|measure json:dumps --fresh nothing:f|measure json:dumps --fresh json:decoder",
    "measure json:dumps json:loads|measure json:dumps --nothing",
    "compare good.jsonl good.jsonl --fail-on x|compare good.jsonl good.jsonl --fail-on steady",
    "compare good.jsonl good.jsonl --fail-on steady:x%|compare good.jsonl good.jsonl --fail-on steady:nan%",
    "compare good.jsonl good.jsonl --fail-on recompiles:1%|compare good.jsonl good.jsonl --fail-on steady:-5%",
    "compare good.jsonl good.jsonl --fail-on steady:5|compare good.jsonl good.jsonl good.jsonl",
    "compare good.jsonl good.jsonl --markdown folder|compare good.jsonl good.jsonl --markdown nowhere/x",
    "report good.jsonl -o folder|report good.jsonl -o nowhere/x.md|report good.jsonl -o good.jsonl/x.md|report good.jsonl -o",
    "report good.jsonl -o /dev/full",
    "sweep --level 5|sweep --level -1|sweep --level x|sweep --level 1 --file good.jsonl|sweep --batch 0|sweep --batch x",
    "sweep --new-tokens -1|sweep --prompt-tokens 0|sweep --dtype int8 --list|sweep --sdpa x --list|sweep --compile-mode x",
    "sweep --timeout nan --list|sweep --timeout inf --list|sweep --timeout -1 --list|sweep --timeout x",
    "sweep --iterations -1 --list|sweep --measurements 0 --list|sweep --results folder --list|sweep --file folder --list",
    "sweep --model --list|sweep --file good.jsonl --list|sweep --results good.jsonl --list",
    "demo --model x|demo --new-tokens 0|demo --measurements 0|schema --nothing",
]
MODULES = {
    "raises.py": "1 / 0",
    "exits.py": "raise SystemExit(0)",
    "syntax.py": "def f(:",
    "binary.py": "\0",
    "recursion.py": "def g(): g()\ng()",
    "lazy.py": "def __getattr__(name): raise ValueError(name)",
}


@pytest.mark.parametrize("words", [words for line in ARGUMENTS for words in line.split("|")])
def test_a_wrong_word_is_one_line(command, good, tmp_path, words):
    for name, source in MODULES.items():
        (tmp_path / name).write_text(source)
    (tmp_path / "folder").mkdir()
    refused(command(*words.split()), shown="--markdown" in words)


SWEEPS = {
    "a model that is a number": {"model": 1},
    "a model that is none": {"model": None},
    "an unknown key": {"nothing": 1},
    "an unknown key and text": {"model": "tiny", "\x1b": {}},
    "a batch that is a text": {"batch": "1"},
    "a batch that is a share": {"batch": 1.5},
    "a huge batch": {"batch": int(HUGE)},
    "a list in a list": {"batch": [[1]]},
    "too many": {"batch": [*range(1, 500)], "new_tokens": [*range(1, 500)]},
    "kernels": {"kernels": "yes"},
    "a number": 3,
    "numbers": [1, 2],
    "a text": ["tiny"],
    "nothing": [None],
}


@pytest.mark.parametrize("kind", SWEEPS)
@pytest.mark.parametrize("ending", ["json", "jsonl", "yaml"])
def test_a_sweep_file_with_a_wrong_entry_is_one_line(command, tmp_path, kind, ending):
    (tmp_path / f"some.{ending}").write_text(json.dumps(SWEEPS[kind]))
    refused(command("sweep", "--list", "--file", f"some.{ending}"), f"some.{ending}")


VALUES = [None, True, -1, 0, int(HUGE), 10**99, -(2**63), 1e308, 5e-324, 1e-99, math.nan, -math.inf, "", "x" * 9999]
VALUES += ["\x1b]0;\ud800\u202e", [], {}, [[[]]], {"a": {"b": 1}}, [1] * 3, 1.5]


def places(value, place=()):
    """The places of a document, of a list only the first ones."""
    yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*place, key))


def with_value(document, place, value):
    if not place:
        return value
    found = copy.deepcopy(document)
    inner = found
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return found


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
def test_a_report_with_any_value_anywhere_is_shown_or_refused_in_one_line(command, good, tmp_path, seed):
    chance, all_places = random.Random(seed), list(places(good))
    for number in range(40):
        place, value = chance.choice(all_places), chance.choice(VALUES)
        (tmp_path / "odd.json").write_text(json.dumps(with_value(good, place, value)))
        output = "odd.html" if number % 10 == 0 else "odd.md"
        for words in (("report", "odd.json", "-o", output), ("compare", "good.jsonl", "odd.json")):
            answer = command(*words)
            if answer[0] != 0:
                refused(answer, "odd.json")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308, 5e-324, int(HUGE)])
@pytest.mark.parametrize("key", ["started_at", "latency_s", "items_per_s", "ledger", "environment", "facts"])
def test_from_dict_refuses_a_number_that_nothing_can_be_computed_with(good, key, value):
    spoiled = good | {key: {"x": value} if isinstance(good[key], dict) else value}
    with pytest.raises(ArgumentError, match=f"cannot read a Report, {key}: got a number"):
        Report.from_dict(spoiled)


def test_what_is_no_number_in_a_report_is_absent_where_it_is_saved(make_report):
    saved = make_report().to_dict()
    odd = Report.from_dict(saved | {"facts": {"x": 1.0}})
    object.__setattr__(odd, "facts", {"x": math.inf, "y": 2.0})
    assert odd.to_dict()["facts"] == {"y": 2.0}
    assert Report.from_dict(json.loads(json.dumps(odd.to_dict()))).facts == {"y": 2.0}


def test_foreign_lines_of_a_log_are_passed_over(command, good, tmp_path):
    (tmp_path / "log").write_bytes(
        b"[" * 99_999 + b"\n\xff\xfe\n" + b"9" * 9999 + b"\n\xef\xbb\xbf{}\n" + json.dumps(good).encode()
    )
    assert command("compare", "log", "good.jsonl")[0] == 0
    assert command("report", "log", "-o", "x.md")[0] == 0


def test_a_file_that_is_too_large_is_refused(command, good, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_BYTES", 1000)
    refused(command("report", "good.jsonl"), "more than 1,000 bytes")


def test_300_reports_are_drawn_or_refused_early(command, make_report, tmp_path):
    pytest.importorskip("jinja2")
    line = json.dumps(make_report().to_dict()) + "\n"
    (tmp_path / "many.jsonl").write_text(line * 300)
    began = time.process_time()
    refused(command("report", "many.jsonl"), "300 reports are too many")
    assert time.process_time() - began < 10  # processor time: it does not matter who else is busy


# ------------------------------------------------------------------ names do not lead out


NAMES = [
    "..",
    ".",
    "../out",
    "/etc/x",
    "a/../../b",
    "a\0b",
    "n" * 300,
    "",
    "\ud800",
    "é" * 100,
    ".hidden",
    "a b",
    "a_b",
]


def test_names_in_files_lead_nowhere_out_of_the_folder(tmp_path):
    fault = Fault(kind="error", phase="load", type="E", message="no")
    made = [Configuration(model=name) for name in NAMES]
    results = [
        Result(hash=one.hash, name=one.name, configuration=one, started_at=1e99, duration_s=1.0, fault=fault)
        for one in made
    ]
    folder = tmp_path / "within" / "folder"
    to_framework(results, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["within"]
    assert [path.name for path in (tmp_path / "within").iterdir()] == ["folder"]
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert len(written) == len(NAMES)  # different models are different files
    assert files.file_name("org/model-1.5_b") == "org_model-1.5_b"


# ------------------------------------------------------------------ nothing is lost


def limited(words, folder, most_bytes, stdout=subprocess.PIPE):
    """Run a command that cannot make any file larger than so many bytes: what a full disk looks like."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "jitwarmup", *map(str, words)],
        cwd=folder,
        env=environment,
        preexec_fn=limit,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )


OLD = "the old file\n"


@pytest.mark.parametrize(
    "words",
    [
        ("measure", "json:dumps", "--args", "[1]", "--save", "old"),
        pytest.param(("measure", "json:dumps", "--args", "[1]", "--markdown", "old"), marks=pytest.mark.slow),
        pytest.param(("compare", "good.jsonl", "good.jsonl", "--markdown", "old"), marks=pytest.mark.slow),
        pytest.param(("report", "good.jsonl", "-o", "old"), marks=pytest.mark.slow),
        ("report", "good.jsonl", "-o", "old.md"),
    ],
    ids=lambda words: " ".join((words[0], words[-2])),
)
def test_a_full_disk_leaves_the_old_file_and_what_is_shown(good, tmp_path, words):
    for name in ("old", "old.md"):
        (tmp_path / name).write_text(OLD)
    answer = limited(words, tmp_path, 300)
    assert answer.returncode == 2
    assert f"cannot write {words[-1]}: File too large" in answer.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"old", "old.md", "good.jsonl"}
    assert {(tmp_path / name).read_text() for name in ("old", "old.md")} == {OLD}
    if words[0] != "report":
        assert "median" in answer.stdout or "steady" in answer.stdout


def test_a_full_disk_behind_stdout_is_one_line_and_the_report_is_saved(tmp_path):
    with Path("/dev/full").open("w") as full:
        answer = limited(("measure", "json:dumps", "--args", "[1]", "--save", "s"), tmp_path, 10**6, stdout=full)
    assert answer.returncode == 2
    assert answer.stderr.splitlines()[-1] == "jitwarmup measure: cannot write the result: No space left on device"
    assert Report.from_dict(json.loads((tmp_path / "s").read_text())).failure is None


def test_a_sweep_shows_what_it_cannot_save(command, tmp_path, monkeypatch):
    (tmp_path / "old").write_text(OLD)

    def load(_configuration):
        monkeypatch.setattr(files.os, "fsync", no_room)
        raise FileNotFoundError("no such model")

    monkeypatch.setattr("jitwarmup.cli.sweep.Sweep", functools.partial(Sweep, load=load))
    code, out, err = command("sweep", "--model", "tiny", "--results", "old")
    assert code == 2
    assert "failed in load" in out
    assert "cannot write old: No space left on device" in err
    assert (tmp_path / "old").read_text() == OLD


def test_a_sweep_whose_results_cannot_be_written_does_not_begin(command):
    refused(command("sweep", "--model", "tiny", "--results", "n" * 300), "File name too long")
    refused(command("sweep", "--model", "tiny", "--results", "/dev/null/x"), "cannot make the folder /dev/null")


def no_room(_file):
    raise OSError(28, os.strerror(28))


@pytest.mark.parametrize("write", [files.save_text, files.append_text])
def test_a_small_disk_that_is_full_leaves_the_old_file(tmp_path, write):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk]
    if shutil.which("mount") is None or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        (disk / "old").write_text(OLD)
        with pytest.raises(ArgumentError, match=r"cannot write .*: No space left on device"):
            write(disk / "old", "x" * 100_000)
        assert (disk / "old").read_text() == OLD
        assert [path.name for path in disk.iterdir()] == ["old"]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_saved_file_keeps_its_mode_and_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").write_text(OLD)
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    files.save_text(tmp_path / "link", "new\n")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new\n"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640


EXITS = """
runs = 0

def at_once():
    raise SystemExit(0)

def later():
    global runs
    runs += 1
    if runs == 9:
        raise SystemExit("enough")
"""


@pytest.mark.parametrize(("function", "runs", "latency"), [("at_once", 1, -1.0), ("later", 9, None)])
def test_a_function_that_exits_is_a_failed_run_with_its_report(command, tmp_path, function, runs, latency):
    (tmp_path / f"exits_{function}.py").write_text(EXITS)
    code, out, _ = command("measure", f"exits_{function}.py:{function}", "--save", "s.jsonl")
    assert code == 3
    assert "with SystemExit" in out
    report = Report.from_dict(json.loads((tmp_path / "s.jsonl").read_text()))
    assert len(report.runs) == runs
    assert report.failure.type == "SystemExit"
    assert report.verdict.state == "invalid"
    assert report.latency_s == (report.latency.median_s if latency is None else latency)


def test_a_torn_line_swallows_no_other(tmp_path):
    sink = JsonLines(tmp_path / "log")
    for number in range(4):
        sink.emit("jitwarmup.call", "info", {"number": number})
        if number == 1:
            with (tmp_path / "log").open("a") as other:
                other.write('{"half": "a li')
    assert numbers_in(tmp_path / "log") == [0, 1, 2, 3]
    assert sink.lost == 0


def numbers_in(path):
    found = []
    for line in path.read_bytes().splitlines():
        try:
            found.append(json.loads(line)["number"])
        except (ValueError, KeyError):
            continue
    return found


def test_every_line_that_is_lost_on_a_full_disk_is_counted(tmp_path):
    """Four processes write; for three of them the disk is full at one place or another, one goes on."""
    path, each, children = tmp_path / "log", 300, []
    sink = JsonLines(path)
    sink.emit("jitwarmup.call", "info", {"number": 4 * each})
    for writer in range(4):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            limits = (20_000 + 7_003 * writer, resource.RLIM_INFINITY) if writer else (resource.RLIM_INFINITY,) * 2
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            for number in range(each):
                sink.emit("jitwarmup.call", "info", {"number": writer * each + number})
            os.write(writing, str(sink.lost).encode())
            os._exit(0)
        os.close(writing)
        children.append((child, reading))
    lost = 0
    for child, reading in children:
        os.waitpid(child, 0)
        lost += int(os.read(reading, 100))
        os.close(reading)
    found = numbers_in(path)
    assert lost > 0
    assert len(found) == len(set(found)) == 4 * each + 1 - lost


# ------------------------------------------------------------------ files of the user's with names of others


SHADOW = """
import collections.abc, colorsys, json, random, statistics, sys

def f():
    assert random.random() < 1 and json.loads("1") == 1 and statistics.mean([1]) == 1 and colorsys.ONE_THIRD
    assert all("site-packages" not in (sys.modules[name].__file__ or "") for name in ("random", "json", "colorsys"))
    return __name__
"""


OTHERS = ("colorsys", "statistics", "types", "inspect", "functools", "sys")


@pytest.mark.parametrize("name", ["random", "json", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_a_file_of_the_users_shadows_no_module(tmp_path, name):
    for each in ("random", "json", "colorsys", "statistics", "types", "inspect", "functools", "argparse", "sys"):
        (tmp_path / f"{each}.py").write_text(SHADOW)
    (tmp_path / f"{name}.py").write_text(SHADOW)
    answer = limited(("measure", f"{name}.py:f", "--measurements", "3"), tmp_path, 10**6)
    assert answer.returncode == 0, answer.stderr
    assert "Traceback" not in answer.stderr


NEEDED = """
import numpy, structlog, sympy, sys
import torch

def f():
    assert all("site-packages" in sys.modules[name].__file__ for name in ("numpy", "structlog", "sympy", "torch"))
    return helper.value()

import helper
"""


@pytest.mark.slow
@pytest.mark.parametrize("target", ["mine.py:f", "mine:f", "torch.py:f"])
def test_a_file_of_the_users_shadows_nothing_that_we_need(tmp_path, target):
    for each in ("numpy", "structlog", "sympy", "jinja2", "torch", "transformers", "yaml", "random"):
        (tmp_path / f"{each}.py").write_text(NEEDED if each == "torch" else "raise SystemExit('shadowed')")
    (tmp_path / "mine.py").write_text(NEEDED)
    (tmp_path / "helper.py").write_text("def value(): return 1")
    answer = limited(("measure", target, "--measurements", "3"), tmp_path, 10**6)
    assert answer.returncode == 0, answer.stderr


def test_a_module_beside_it_is_found(tmp_path):
    (tmp_path / "beside.py").write_text("def f(): return 1")
    (tmp_path / "work.py").write_text("from beside import f")
    assert limited(("measure", "work.py:f"), tmp_path, 10**6).returncode == 0
    assert limited(("measure", "beside:f"), tmp_path, 10**6).returncode == 0


def test_the_results_of_a_sweep_name_the_line_that_is_wrong(command, tmp_path):
    one = Configuration()
    done = ResultFile(tmp_path / "r")
    fault = Fault(kind="error", phase="load", type="E", message="no")
    done.append(Result(hash=one.hash, name="x", configuration=one, started_at=1.0, duration_s=1.0, fault=fault))
    with (tmp_path / "r").open("a") as file:
        file.write('{"cut": \n{"schema": "jitwarmup.sweep/1", "hash": 3}\n')
    refused(command("sweep", "--list", "--results", "r"), "r, line 3")


def test_a_refused_number_is_shown_short():
    for value in (10**5000, "x" * 10_000, math.nan):
        with pytest.raises(ArgumentError) as caught:
            warmed(budget_s=value)(lambda: None)
        assert len(str(caught.value)) < 400
