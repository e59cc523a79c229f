"""
The facts a reader of a report needs. Nothing is imported for them.

A device is played by a fake torch: no GPU is at hand.
"""

import json
import os
import platform
import sys
from types import SimpleNamespace

import pytest

from jitwarmup.host import environment as environment_module
from jitwarmup.host.environment import LIBRARIES, environment, torch_facts


class Version(str):
    """As torch's: a str of its own class."""

    __slots__ = ()


def torch(initialized=True, **more):
    cuda = SimpleNamespace(is_initialized=lambda: initialized, get_device_name=lambda: "H200")
    version = SimpleNamespace(cuda="13.0")
    return SimpleNamespace(
        get_num_threads=lambda: 3, cuda=cuda, version=version, __version__=Version("2.13.0+cpu"), **more
    )


@pytest.fixture
def nothing_loaded(monkeypatch):
    for name in LIBRARIES:
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.usefixtures("nothing_loaded")
def test_the_machine_is_described_and_nothing_is_imported_for_it():
    facts = environment()
    assert facts["python"] == platform.python_version()
    assert facts["pid"] == os.getpid()
    assert facts["cpu_count"] >= 1
    assert set(LIBRARIES) & (set(facts) | set(sys.modules)) == set()
    assert "torch_threads" not in facts


def test_the_versions_of_loaded_libraries_are_plain_text(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", torch())
    monkeypatch.setitem(sys.modules, "triton", SimpleNamespace(__version__=("not", "text")))
    facts = environment()
    assert (facts["torch"], type(facts["torch"])) == ("2.13.0+cpu", str)
    assert "triton" not in facts
    assert {type(value) for value in facts.values()} <= {str, int, float}
    json.dumps(facts, allow_nan=False)


def test_what_the_system_does_not_tell_is_left_out(monkeypatch):
    monkeypatch.delattr(environment_module.os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(environment_module.os, "getloadavg", raising=False)
    monkeypatch.setattr(environment_module.os, "cpu_count", lambda: None)
    assert {"cpu_usable", "load_1min"} & set(environment()) == set()


def test_a_device_in_use_is_named():
    assert torch_facts(torch()) == {"torch_threads": 3, "device": "H200", "cuda": "13.0"}


def test_a_device_that_is_not_in_use_is_not_asked():
    idle = torch(initialized=False)
    idle.cuda.get_device_name = lambda: pytest.fail("this would create a context")
    assert torch_facts(idle) == {"torch_threads": 3}


def test_a_half_imported_torch_tells_nothing():
    assert torch_facts(None) == torch_facts(SimpleNamespace()) == {}
    assert torch_facts(SimpleNamespace(get_num_threads=lambda: 2)) == {"torch_threads": 2}
