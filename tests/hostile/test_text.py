"""Names, reasons and messages that hold every control character: nothing but printable lines comes out, anywhere."""

import json
import re

import pytest

from jitwarmup import ArgumentError, Failure, MeasurementFailed, Phase, Report, classify, steady_state, warmed
from jitwarmup.cli import checks
from jitwarmup.integrations.sweep import Configuration, Fault, Result, ResultFile

ORDERS = [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C]
FORGED = "gate passed"
NASTY = f"f{''.join(map(chr, ORDERS))}\r\n{FORGED}\u2028{FORGED}\x85{FORGED}\x1b]0;pwn\x07"
FAILURE = Failure(phase=Phase.MEASURE, index=3, type="x", message="x", traceback="x")
DIRTY = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def is_clean(text):
    """Holds no order to a terminal, and no line that begins as a name would have it."""
    assert text
    assert not DIRTY.search(text)
    assert not any(line.startswith(FORGED) for line in text.splitlines())
    return True


@pytest.fixture
def nasty_report(make_report):
    document = make_report(device=True, stream=True, marked=(3,), failure=FAILURE).to_dict()

    def spoiled(value, key=""):
        if isinstance(value, dict):
            return {name: spoiled(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [spoiled(item, key) for item in value]
        fixed = key in ("schema", "phase", "outcome", "scope", "recurrence", "state") or not isinstance(value, str)
        return value if fixed else NASTY + "\ud800"

    found = spoiled(document)
    found["verdict"]["unwatched"] = {NASTY: NASTY}
    found["ledger"] = {NASTY: 1.0, "run": 2.0}
    found["environment"] = {"python": NASTY, NASTY: NASTY}
    for run in found["runs"]:
        run["error_type"] = NASTY
        run["work"] = [{"kind": NASTY, "reason": NASTY}]
    return Report.from_dict(found)


def test_a_report_shows_none_of_them(nasty_report):
    assert is_clean(nasty_report.explain())
    assert is_clean(repr(nasty_report))
    assert is_clean(str(nasty_report))
    with pytest.raises(MeasurementFailed) as caught:
        nasty_report.raise_for_failure()
    assert is_clean(str(caught.value))


def test_a_short_name_in_a_table_is_cleaned_too(make_report):
    odd = make_report().to_dict() | {"ledger": {"a\x1b\u202eb": 0.5, "run": 2.0}}
    assert is_clean(Report.from_dict(odd).explain())


def test_a_page_in_a_notebook_shows_none_of_them(nasty_report):
    pytest.importorskip("jinja2")
    assert is_clean(nasty_report._repr_html_())


def test_no_command_shows_any_of_a_saved_report(command, nasty_report, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(nasty_report.to_dict()))
    (tmp_path / "two.jsonl").write_text(json.dumps(nasty_report.to_dict() | {"callable": NASTY + "2"}) + "\n")
    with (tmp_path / "two.jsonl").open("a") as file:
        file.write(json.dumps(nasty_report.to_dict()))
    for words in (
        ("report", "a.jsonl", "-o", "a.html"),
        ("report", "a.jsonl", "-o", "a.md"),
        ("report", "a.jsonl", "--json", "-o", "c.md"),
        ("compare", "a.jsonl", "a.jsonl", "--fail-on", "steady:5%", "--markdown", "b.md"),
        ("compare", "two.jsonl", "a.jsonl", "--json"),
        ("compare", "two.jsonl", "a.jsonl"),
        ("compare", NASTY.replace("\x00", ""), "a.jsonl"),
        ("report", "a.jsonl", "-o", "nowhere/" + NASTY.replace("\x00", "") + ".md"),
        (NASTY,),
        ("measure", NASTY, "--" + NASTY),
        ("measure", f"json:{NASTY}"),
        ("compare", "a.jsonl", "a.jsonl", "--fail-on", NASTY),
    ):
        _, out, err = command(*words)
        assert is_clean(out + err)
    for name in ("a.html", "a.md", "b.md"):
        assert is_clean((tmp_path / name).read_text())


SOURCE = """
def work(n=100):
    return sum(range(n))

class Broken(ValueError):
    pass

def broken():
    raise Broken(NASTY)

work.__qualname__ = work.__name__ = broken.__qualname__ = NASTY
Broken.__qualname__ = Broken.__name__ = NASTY.replace(chr(0), "")
"""


@pytest.mark.parametrize(("function", "code"), [("work", 0), ("broken", 3)])
def test_measure_shows_none_of_them(command, tmp_path, function, code):
    (tmp_path / f"nasty_{function}.py").write_text(f"NASTY = {NASTY!r}\n{SOURCE}")
    target = f"nasty_{function}.py:{function}"
    for more in ((), ("--json",), ("--markdown", "c.md"), ("--against", target)):
        found, out, err = command("measure", target, "--measurements", 6, *more)
        assert found == code
        assert is_clean(out + err)
    assert is_clean((tmp_path / "c.md").read_text())


def test_the_sweep_shows_none_of_them(command, tmp_path):
    one = Configuration(model=NASTY, device=NASTY)
    fault = Fault(kind=NASTY, phase=NASTY, type=NASTY, message=NASTY)
    ResultFile(tmp_path / "done.jsonl").append(
        Result(hash=one.hash, name=one.name, configuration=one, started_at=1e99, duration_s=1.0, fault=fault)
    )
    (tmp_path / "some.json").write_text(json.dumps({"model": NASTY, "device": NASTY}))
    for more, code in (("--list", 0), ("--json", 3), ("--export-framework", 3), ("--export-datasets", 3)):
        words = [more, *(["out"] if "export" in more else [])]
        found, out, err = command("sweep", "--file", "some.json", "--results", "done.jsonl", *words)
        assert found == code
        assert is_clean(out + err)


def test_the_doctor_shows_none_of_them(command, monkeypatch, tmp_path):
    monkeypatch.setattr("jitwarmup.cli.doctor.CHECKS", [lambda: iter([checks.Finding(NASTY, "warn", NASTY, NASTY)])])
    for more in ((), ("--json",), ("--markdown", "d.md")):
        _, out, err = command("doctor", *more)
        assert is_clean(out + err)
    assert is_clean((tmp_path / "d.md").read_text())


def test_a_warmed_function_and_what_is_refused_show_none_of_them(caplog):
    def function() -> None: ...

    function.__qualname__ = NASTY
    made = warmed(iterations=1)(function)
    with caplog.at_level("INFO"):
        made()
    assert is_clean(repr(made))
    assert all(map(is_clean, caplog.messages))
    assert caplog.messages
    with steady_state(name=NASTY) as block:
        report = block.measure(made)
    assert is_clean(report.explain() + repr(report))
    for call in (
        lambda: warmed(on_loss=NASTY)(function),
        lambda: warmed(**{NASTY: 1})(function),
        lambda: classify([1.0], profile=NASTY),
        lambda: Report.from_dict({"schema": NASTY}),
    ):
        with pytest.raises(ArgumentError) as caught:
            call()
        assert is_clean(str(caught.value))
        assert len(str(caught.value)) < 2100


def test_a_very_long_name_is_cut(command, make_report, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(make_report(name="n" * 10**6).to_dict()))
    for words in (("compare", "a.jsonl", "a.jsonl"), ("report", "a.jsonl"), ("report", "a.jsonl", "-o", "a.md")):
        code, out, err = command(*words)
        assert code == 0
        assert len(out + err) < 10_000
    assert all((tmp_path / name).stat().st_size < 150_000 for name in ("jitwarmup.html", "a.md"))


# ------------------------------------------------------------------ privacy

CANARY = "a secret of the user's"
SECRET = f"""
def broken():
    raise ValueError({CANARY!r})
"""


@pytest.mark.parametrize("messages", [True, False])
def test_messages_of_exceptions_can_be_left_out(command, tmp_path, messages):
    (tmp_path / "secret.py").write_text(SECRET)
    left_out = () if messages else ("--no-messages",)
    shown = command("measure", "secret.py:broken", "--save", "s.jsonl", *left_out)
    as_json = command("measure", "secret.py:broken", "--json", *left_out)
    assert (CANARY in "".join(shown[1:])) is messages
    assert (CANARY in "".join(as_json[1:])) is messages
    assert (CANARY in (tmp_path / "s.jsonl").read_text()) is messages
    command("measure", "secret.py:broken", "--save", "s.jsonl")
    assert command("report", "s.jsonl", *left_out)[0] == 0
    assert (CANARY.split("'", maxsplit=1)[0] in (tmp_path / "jitwarmup.html").read_text()) is messages


@pytest.mark.parametrize("name", ["measure", "report", "sweep", "demo"])
def test_the_help_says_that_messages_are_held(command, name):
    out = " ".join(command(name, "--help")[1].split())
    assert "A report holds the message and traceback of an exception" in out
    assert "--no-messages" in out
