"""Two sides compared: what is called a difference, and what is not."""

import itertools
import random

import pytest

from jitwarmup.analysis.compare import LEVEL, compare, pairs_of
from jitwarmup.analysis.resampling import blocks
from jitwarmup.analysis.sides import Measured, Series, side_of


def series(values, at=0.0):
    count = len(values)
    starts = tuple(at + 2.0 * place for place in range(count))
    return Series(seconds=tuple(values), places=tuple(range(count)), started_at=starts)


def side(values, *, at=0.0, name="f", **more):
    return Measured(name=name, steady=(series(values, at),), **more)


def noisy(seed, count=20, scale=1.0, host=None):
    """A series with noise of its own, and the host's slow stretches, which meet both sides of a pair."""
    chance = random.Random(seed)
    host = host or [1.0] * count
    return [scale * slow * (1 + 0.03 * chance.random()) for slow in host]


def wandering(seed, count=20):
    chance, level, found = random.Random(seed), 1.0, []
    for _ in range(count):
        level = max(0.5, min(3.0, level * (1 + chance.uniform(-0.3, 0.35))))
        found.append(level)
    return found


def calls(scale, pairs=60):
    found = []
    for seed in range(pairs):
        host = wandering(seed)
        a, b = noisy(seed * 2 + 1, host=host), noisy(seed * 2 + 2, scale=scale, host=host)
        found.append(compare(side(a), side(b, at=1.0)).of("steady").verdict)
    return found


@pytest.mark.slow
def test_the_same_work_in_turn_is_called_different_in_at_most_one_of_sixty_pairs():
    found = calls(1.0)
    assert found.count("same") >= 59, found


@pytest.mark.slow
def test_a_fifth_more_is_found_in_turn_however_the_host_wanders():
    assert calls(1.2) == ["slower"] * 60
    assert calls(1 / 1.2, pairs=20) == ["faster"] * 20


def test_sides_that_were_not_run_in_turn_are_not_paired():
    a, b = side(noisy(1)), side(noisy(2), at=1000.0)
    assert pairs_of(a, b) == []
    assert compare(a, b).interleaved is False
    assert compare(a, b).of("steady").method == "runs"


def test_without_pairs_a_wandering_host_is_not_called_a_difference_and_a_clear_one_is():
    assert compare(side(noisy(1)), side(noisy(2), at=1000.0)).of("steady").verdict == "undecided"  # one process each
    assert compare(side(noisy(1)), side(noisy(2, scale=1.2), at=1000.0)).of("steady").verdict == "slower"


def test_few_runs_are_not_enough_to_call_anything():
    found = compare(side([1.0] * 4), side([2.0] * 4, at=1000.0)).of("steady")
    assert (found.verdict, found.why, found.low, found.ratio) == ("undecided", "few", None, 2.0)
    assert compare(side([1.0] * 7), side([2.0] * 7, at=1.0)).of("steady").verdict == "undecided"


def test_single_cold_runs_have_a_ratio_and_no_interval():
    found = compare(side([1.0] * 9, cold_s=(10.0,)), side([1.0] * 9, cold_s=(15.0,))).of("cold")
    assert (found.ratio, found.low, found.method, found.verdict) == (1.5, None, "single", "undecided")


def test_several_processes_are_compared_by_their_medians():
    a = Measured(name="f", cold_s=(10, 10.1, 10.2, 9.9, 10.0), steady=tuple(series(noisy(at)) for at in range(5)))
    b = Measured(
        name="f", cold_s=(13, 13.1, 13.2, 12.9, 13), steady=tuple(series(noisy(at, scale=1.3)) for at in range(5))
    )
    found = compare(a, b)
    assert found.of("cold").verdict == found.of("steady").verdict == "slower"
    assert found.of("steady").method == "processes"


def test_a_missing_metric_is_absent_and_not_zero():
    found = compare(side([1.0] * 9), Measured(name="f"))
    assert (found.of("steady").b_s, found.of("steady").ratio) == (None, None)
    assert found.of("cold").method == "absent"


def test_an_interval_is_never_narrower_than_the_wander_of_a_steady_state():
    found = compare(side([1.0] * 20), side([1.0] * 20, at=1.0)).of("steady")
    assert found.low < 0.9905
    assert found.high > 1.0095
    assert found.level == LEVEL


def test_blocks_keep_neighbours_together_where_they_are_alike():
    values = [1.0] * 20 + [2.0] * 20
    drawn = next(iter(blocks(values)))
    changes = sum(one != two for one, two in itertools.pairwise(drawn))
    assert len(drawn) == 40
    assert changes < 10
    alike = list(blocks([1.0, 2.0, 1.5, 0.5] * 5))
    assert list(blocks([1.0, 2.0, 1.5, 0.5] * 5)) == alike  # the same files give the same words


def test_compiles_are_counted_by_kind_over_all_phases(make_report):
    found = compare(side_of([make_report(compiles=1)]), side_of([make_report(compiles=3)]))
    assert found.compiles["dynamo.recompile"] == (1, 3)
    assert found.compiles["dynamo.capture"] == (1, 1)


def test_compiles_that_nobody_could_watch_are_unknown(make_report):
    blind = make_report(unwatched={"dynamo": "torch is too old"})
    assert side_of([blind]).compiles is None
    assert compare(side_of([blind]), side_of([make_report()])).compiles is None


def test_a_comparison_survives_its_dict(make_report):
    found = compare(side_of([make_report()]), side_of([make_report(seed=2, stream=True)]))
    assert type(found).from_dict(found.to_dict()) == found


@pytest.mark.parametrize("count", [20, 500])
def test_comparing_long_reports_takes_less_than_two_seconds(make_report, count):
    import time

    began = time.process_time()
    compare(side_of([make_report(count)]), side_of([make_report(count, seed=2)]))
    assert time.process_time() - began < 2
