"""Side effects: a function that must not run twice is not run once more than asked for."""

import asyncio

import pytest

from jitwarmup import ArgumentError, is_warming, warmed


def test_idempotent_false_without_a_way_out_runs_the_function_zero_times() -> None:
    charged = []

    def charge(amount):
        charged.append(amount)

    with pytest.raises(ArgumentError, match="idempotent=False got neither fresh= nor dry_run="):
        warmed(idempotent=False)(charge)
    assert charged == []


def test_a_dry_run_is_run_in_the_place_of_every_extra_run() -> None:
    charged, rehearsed = [], []

    def charge(amount):
        charged.append(amount)
        return amount

    function = warmed(iterations=3, idempotent=False, dry_run=lambda amount: rehearsed.append(amount))(charge)
    function.warm(5)
    assert (charged, rehearsed) == ([], [5] * 4)
    assert function(7) == 7
    assert charged == [7]
    cold = warmed(iterations=3, idempotent=False, dry_run=lambda amount: rehearsed.append(amount))(charge)
    assert cold(9) == 9
    assert charged == [7, 9]


@pytest.mark.parametrize("way", ["awarm", "warm_all", "awarm_all"])
def test_the_other_ways_of_warming_use_it_too(way) -> None:
    charged, rehearsed = [], []
    function = warmed(iterations=1, idempotent=False, dry_run=rehearsed.append)(charged.append)
    if way == "warm_all":
        function.warm_all([1])
    else:
        asyncio.run(function.awarm(1) if way == "awarm" else function.awarm_all([1]))
    assert (charged, rehearsed) == ([], [1, 1])


def test_fresh_makes_every_extra_run_harmless() -> None:
    charged = []
    function = warmed(iterations=2, idempotent=False, fresh=lambda account: (("test account",), {}))(charged.append)
    function("customer")
    assert charged == ["test account"] * 3 + ["customer"]


def test_user_code_can_ask_whether_it_is_an_extra_run_off_the_loop_too() -> None:
    seen = []
    function = warmed(iterations=1)(lambda: seen.append(is_warming()))
    asyncio.run(function.awarm())
    function()
    assert seen == [True, True, False]
    assert not is_warming()
