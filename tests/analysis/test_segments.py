import itertools
import math
import random

import pytest

from jitwarmup.analysis.segments import outliers, segment_edges

numpy = pytest.importorskip("numpy")


def cost(values, least_variance):
    spread = max(float(numpy.var(values)), least_variance)
    return len(values) * (math.log(2 * math.pi * spread) + 1)


def cheapest_by_trying_all(values, penalty, least_variance, shortest):
    count = len(values)
    best = None
    for cuts in itertools.chain.from_iterable(itertools.combinations(range(1, count), k) for k in range(count)):
        edges = [0, *cuts, count]
        if any(b - a < shortest for a, b in itertools.pairwise(edges)):
            continue
        total = sum(cost(values[a:b], least_variance) for a, b in itertools.pairwise(edges)) + penalty * len(cuts)
        best = min(best or (math.inf, []), (total, edges))
    return best[1]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shortest", [1, 2])
def test_the_segmentation_is_the_cheapest_of_all(seed, shortest):
    chance = random.Random(seed)
    values = [chance.gauss(at // 4, 0.3) for at in range(11)]
    edges = segment_edges(values, penalty=3.0, least_variance=1e-4, shortest=shortest)
    assert edges == cheapest_by_trying_all(values, 3.0, 1e-4, shortest)


def test_a_step_is_found_where_it_is():
    assert segment_edges([0.0] * 7 + [1.0] * 5, penalty=5.0, least_variance=1e-4, shortest=1) == [0, 7, 12]


def test_equal_values_are_one_segment():
    assert segment_edges([1.0] * 20, penalty=5.0, least_variance=1e-4, shortest=1) == [0, 20]


def test_too_few_values_are_one_segment():
    assert segment_edges([1.0, 9.0, 1.0], penalty=0.0, least_variance=1e-9, shortest=2) == [0, 3]
    assert segment_edges([1.0], penalty=0.0, least_variance=1e-9, shortest=1) == [0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_ruptures_finds_the_same_segments(seed):
    ruptures = pytest.importorskip("ruptures")
    chance = random.Random(seed)
    values = [chance.gauss([0, 2, 1, 4][at // 30], 0.5) for at in range(120)]
    penalty = 15 * math.log(len(values))
    model = ruptures.Dynp(model="normal", min_size=2, jump=1, params={"add_small_diag": False})
    edges = segment_edges(values, penalty=penalty, least_variance=1e-11, shortest=2)
    found = model.fit(numpy.array(values)).predict(n_bkps=len(edges) - 2)
    assert edges == [0, *found]


def test_outliers_are_told_by_the_window_around_them():
    values = numpy.array([1.0 + 0.01 * (at % 7) for at in range(600)])
    values[[50, 300]] = 9.0
    assert list(numpy.flatnonzero(outliers(values))) == [300]
