"""A store that does not answer holds up nobody's event loop."""

import threading
from datetime import timedelta

import pytest

from jitwarmup.edges.ranks.notices import StoreGone, aside, patiently

LONG = timedelta(seconds=30)


def test_what_is_asked_of_the_store_is_waited_for_elsewhere():
    answered = threading.Event()
    asking = aside(lambda: answered.wait(30) and "here")
    asked = next(asking)  # while the store is silent
    answered.set()
    assert asked.wait(LONG)
    with pytest.raises(StopIteration) as stop:
        next(asking)
    assert stop.value.value == "here"


def test_a_silent_store_is_told_from_one_that_is_gone():
    never = threading.Event()
    with pytest.raises(StoreGone) as silent:
        patiently(lambda: never.wait(30), 0.0)
    never.set()
    assert silent.value.silent

    def gone():
        raise StoreGone("DistNetworkError")

    with pytest.raises(StoreGone, match="DistNetworkError") as told:
        patiently(gone, 30.0)
    assert not told.value.silent
