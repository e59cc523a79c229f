"""The promise of ``measure --against``, held on this host as it is."""

import importlib.util
import pathlib

import pytest

PATH = pathlib.Path(__file__).with_name("side_by_side.py")


@pytest.fixture(scope="module")
def calls():
    spec = importlib.util.spec_from_file_location("side_by_side", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.calls


@pytest.mark.slow
@pytest.mark.timed
def test_of_forty_equal_pairs_at_most_two_are_called_different(calls):
    found = calls(1.0, 40)
    assert found["slower"] + found["faster"] <= 2, found


@pytest.mark.slow
@pytest.mark.timed
def test_of_forty_pairs_with_a_fifth_more_at_least_38_are_found_or_undecided(calls):
    found = calls(1.2, 40)
    assert found["slower"] + found["undecided"] >= 38, found
