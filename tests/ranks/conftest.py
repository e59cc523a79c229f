"""Jobs of several ranks (launch.py), and two hosts for them (hosts.py)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _by_path(stem: str) -> ModuleType:
    """A helper beside this file: the tests are no package, so it has no other name to be imported by."""
    name = f"jitwarmup_tests_{stem}"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{stem}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def launch() -> ModuleType:
    """The module launch.py: `run_job(name, world, *arguments)` and `torchrun(...)`."""
    return _by_path("launch")


@pytest.fixture(scope="session")
def bench() -> ModuleType:
    """The module hosts.py, on any machine."""
    return _by_path("hosts")


@pytest.fixture
def two_hosts(bench):
    """The context manager `two_hosts(delay_s=0.05, loss=0.01, seed=0)`, or a skip that says why not here."""
    try:
        with bench.two_hosts(delay_s=0, loss=0):
            pass  # only a try tells whether the kernel lets us
    except bench.NoHosts as error:
        pytest.skip(f"two hosts cannot be made here: {error}")
    return bench.two_hosts
