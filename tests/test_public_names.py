"""The public names: where they are found, their docstrings, and the version."""

import dataclasses
import inspect
import re
import tomllib
from pathlib import Path

import pytest

import jitwarmup

ROOT = Path(__file__).parent.parent
PROMISED = {  # the public contract
    "warmed", "Warmed", "steady_state", "until_steady", "by_shape", "by_bucket", "by_tokens", "is_warming", "readiness", "classify", "configure_json",
    "GPUMonitor", "RankGroup",
    "Report", "Run", "OneTimeWork", "Summary", "Decision", "Verdict", "Warmup", "DeviceReading", "State",
    "JitwarmupError", "ArgumentError", "NotReady", "Overlap", "MonitorStateError", "MeasurementFailed", "RankFailed",
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


def test_type_checkers_know_the_same_names():
    """The ``if TYPE_CHECKING`` imports and the lazy table hold the same."""
    source = (ROOT / "jitwarmup" / "__init__.py").read_text(encoding="utf-8")
    declared = re.findall(r"^    from jitwarmup\.(\S+) import (\w+) as \2$", source, re.MULTILINE)
    assert {name: where for where, name in declared} == jitwarmup.WHERE


def test_dir_lists_names_that_were_not_used_yet():
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


RECORDS = [name for name in jitwarmup.__all__ if dataclasses.is_dataclass(getattr(jitwarmup, name))]


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_of_a_public_record_is_documented(name):
    record = getattr(jitwarmup, name)
    text = inspect.getdoc(record)
    public = [field.name for field in dataclasses.fields(record) if not field.name.startswith("_")]
    assert [field for field in public if not re.search(rf"``{field}(?:``|\.|\[)|^ *{field}:", text, re.MULTILINE)] == []
