"""Typing holds: mypy --strict over what users write, and the list in README.md, beside this file, of what it cannot express."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jitwarmup.testing import capture_events

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LIMITS = (HERE / "limits.py").read_text(encoding="utf-8")
COMPLAINT = re.compile(r"^.*?(\w+)\.py:(\d+): error: .*\[([\w-]+)\]$", re.MULTILINE)


@pytest.fixture(scope="module")
def complaints():
    """What mypy --strict says of both files: (file, line) -> codes. One run, since it reads the whole package."""
    pytest.importorskip("mypy")
    words = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "tests/typing/api.py",
        "tests/typing/limits.py",
    ]
    found_by_mypy = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True, timeout=180)
    assert found_by_mypy.returncode in (0, 1), found_by_mypy.stdout + found_by_mypy.stderr
    found = {}
    for file, line, code in COMPLAINT.findall(found_by_mypy.stdout):
        found.setdefault((file, int(line)), set()).add(code)
    return found


def test_mypy_sees_what_the_readme_says(complaints):
    assert {place: codes for place, codes in complaints.items() if place[0] != "limits"} == {}


def marked():
    """Lines of limits.py that say what mypy says of them."""
    for number, line in enumerate(LIMITS.splitlines(), 1):
        if mark := re.search(r"# mypy: ([\w-]+)$", line):
            yield number, mark.group(1)


def test_mypy_complains_of_exactly_the_lines_that_are_marked(complaints):
    wanted = {number: code for number, code in marked() if code != "silent"}
    complained = {line: codes for (file, line), codes in complaints.items() if file == "limits"}
    assert set(complained) == set(wanted)
    assert all(code in complained[number] for number, code in wanted.items())
    assert "silent" in dict(marked()).values()


def test_what_mypy_cannot_express_runs_all_the_same():
    spec = importlib.util.spec_from_file_location("typing_limits", HERE / "limits.py")
    with capture_events() as events:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    failed = [event["error_type"] for event in events.named("jitwarmup.call") if event["outcome"] != "ok"]
    assert failed == ["TypeError"]  # the one wrong call of which mypy is silent


def test_the_readme_lists_exactly_the_limits_that_are_shown():
    listed = re.findall(r"^- (.*?): ", (HERE / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    shown = re.findall(r"^# limit: (.*)$", LIMITS, re.MULTILINE)
    assert listed == shown
    assert len(shown) == 4


def test_every_limit_is_followed_by_a_line_that_shows_it():
    for part in LIMITS.split("# limit: ")[1:]:
        assert "# mypy: " in part
