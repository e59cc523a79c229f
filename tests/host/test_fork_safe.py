from __future__ import annotations

import gc
import os

import pytest

from jitwarmup.host.fork_safe import after_fork_in_child, snapshot_of

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


class Counts:
    def __init__(self) -> None:
        self.forks = 0

    def count(self) -> None:
        self.forks += 1


def exit_code_of_child(forks) -> int:
    child = os.fork()
    if child == 0:
        os._exit(forks())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_callbacks_run_in_the_child_only():
    counts = Counts()
    after_fork_in_child(counts.count)
    assert exit_code_of_child(lambda: counts.forks) == 1
    assert counts.forks == 0


def test_a_function_is_kept():
    called: list[int] = []
    after_fork_in_child(lambda: called.append(1))
    gc.collect()
    assert exit_code_of_child(lambda: len(called)) == 1


def test_a_snapshot_is_tried_again_while_others_change_the_collection():
    class Changing:
        tries = 0

        def __iter__(self):
            self.tries += 1
            if self.tries < 3:
                raise RuntimeError("dictionary changed size during iteration")
            return iter([1, 2])

    assert snapshot_of(Changing()) == [1, 2]
