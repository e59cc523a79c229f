"""What a stranger meets first: the names, their docstrings, the version, and the README."""

import dataclasses
import inspect
import re
import tomllib
from pathlib import Path

import pytest

import jitwarmup
from jitwarmup.events.schema_files import readme_table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROMISED = {  # api.md, "Where the names live"; GPUMonitor comes with its own issue
    "warmed", "Warmed", "steady_state", "until_steady", "by_shape", "by_bucket", "is_warming", "readiness", "classify", "configure_json",
    "Report", "Run", "OneTimeWork", "Summary", "Decision", "Verdict", "Warmup", "DeviceReading", "State",
    "JitwarmupError", "ArgumentError", "NotReady", "Overlap", "MonitorStateError", "MeasurementFailed",
}  # fmt: skip


def is_defined_here(name):
    value = getattr(jitwarmup, name)
    return value.__module__ == f"jitwarmup.{jitwarmup.WHERE[name]}" and value.__name__ == name


def test_every_public_name_is_found_where_the_table_says():
    assert len(set(jitwarmup.__all__)) == len(jitwarmup.__all__)
    assert [name for name in jitwarmup.__all__ if not is_defined_here(name)] == []


def test_the_promised_names_are_there():
    assert set(jitwarmup.__all__) >= PROMISED


def test_a_star_import_brings_all_of_them():
    names = {}
    exec("from jitwarmup import *", names)  # noqa: S102 - what a user types
    assert set(jitwarmup.__all__) <= set(names)


def test_type_checkers_are_told_of_the_same_names():
    """The ``if TYPE_CHECKING`` imports and the lazy table say the same."""
    source = (ROOT / "jitwarmup" / "__init__.py").read_text(encoding="utf-8")
    told = re.findall(r"^    from jitwarmup\.(\S+) import (\w+) as \2$", source, re.MULTILINE)
    assert {name: where for where, name in told} == jitwarmup.WHERE


def test_dir_tells_of_names_that_were_not_used_yet():
    assert set(dir(jitwarmup)) >= {*jitwarmup.__all__, "__version__"}
    assert dir(jitwarmup) == sorted(dir(jitwarmup))


def test_a_name_is_kept_once_it_is_found(monkeypatch):
    monkeypatch.delitem(vars(jitwarmup), "Report", raising=False)
    found = jitwarmup.Report
    assert vars(jitwarmup)["Report"] is found


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'jitwarmup' has no attribute 'nonsense'"):
        jitwarmup.nonsense
    with pytest.raises(ImportError, match="nonsense"):
        exec("from jitwarmup import nonsense")  # noqa: S102 - what a user types


def has_words(thing):
    """A docstring of its own: not what dataclasses or the parent class wrote."""
    words = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    written = f"{thing.__name__}(" if dataclasses.is_dataclass(thing) else None
    return bool(words) and not (written and words.startswith(written))


@pytest.mark.parametrize("name", jitwarmup.__all__)
def test_every_public_name_has_a_docstring(name):
    assert has_words(getattr(jitwarmup, name))


def public_methods():
    for name in jitwarmup.__all__:
        value = getattr(jitwarmup, name)
        if inspect.isclass(value):
            for attribute, member in vars(value).items():
                ours = inspect.isfunction(member) or isinstance(member, property | classmethod)
                if ours and not attribute.startswith("_"):
                    yield f"{name}.{attribute}", member


def test_every_public_method_has_a_docstring():
    found = dict(public_methods())
    assert len(found) > 15
    assert [name for name, member in found.items() if not inspect.getdoc(member)] == []


def test_the_version_is_that_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert jitwarmup.__version__ == project["version"]


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "jitwarmup" / "py.typed").exists()


# ------------------------------------------------------------------------------------------------ README

COMMANDS = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_readme_holds_the_table_of_events():
    assert readme_table() in README


def test_the_first_two_commands_of_the_readme_start_from_nothing():
    """A fresh clone with only Python and pip: an environment of its own, and the pinned CPU build of torch."""
    assert len(COMMANDS) >= 2
    for command in COMMANDS[:2]:
        assert command.startswith("python3 -m venv")
        assert "-c tests/constraints.txt" in command
    assert "jitwarmup demo" in COMMANDS[0]
    assert "python -m pytest" in COMMANDS[1]


def test_the_constraints_pin_the_torch_that_the_readme_promises():
    lines = (ROOT / "tests" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert "torch==2.13.0" in lines


def test_the_extras_that_the_readme_installs_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    asked = {
        extra for command in COMMANDS for found in re.findall(r'"\.\[(.*?)\]"', command) for extra in found.split(",")
    }
    assert asked
    assert asked <= set(extras)


def test_the_python_of_the_readme_is_python():
    blocks = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        compile(block, "README.md", "exec")


def test_the_readme_names_only_public_names_of_jitwarmup():
    blocks = "\n".join(re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL))
    imported = {name.strip() for line in re.findall(r"from jitwarmup import (.*)", blocks) for name in line.split(",")}
    assert imported
    assert imported <= set(jitwarmup.__all__)
