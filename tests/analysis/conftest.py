import importlib.util
import sys
from pathlib import Path

import pytest
from reports import *  # noqa: F403 - fixtures are found by name

TESTS = Path(__file__).resolve().parents[1]


def bench(name):
    """A script of tests/bench as a module."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", TESTS / "bench" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def planted():
    """The generator of short series with a planted class."""
    return bench("planted")


@pytest.fixture(scope="session")
def steadiness():
    """The bench over recorded series."""
    return bench("steadiness")


@pytest.fixture(scope="session")
def data():
    """The folder of recorded series."""
    return TESTS / "data"
