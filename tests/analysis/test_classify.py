import json
import math
import random
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitwarmup import ArgumentError, classify

STEP_DOWN = [3.0] * 4 + [1.0] * 26


@pytest.fixture(scope="module")
def published(data):
    return json.loads((data / "barrett2017_series.json").read_text())


@pytest.fixture(scope="module")
def found(published):
    return [classify(one["series"], profile="barrett2017") for one in published]


def test_every_published_label_is_reproduced(published, found):
    assert len(published) == 34
    assert [one.label for one in found] == [one["label"].replace(" ", "_") for one in published]


def test_the_steady_part_starts_where_published_in_four_of_five(published, found):
    pairs = [
        (one.start, was["steady_start"]) for one, was in zip(found, published, strict=True) if one.start is not None
    ]
    assert len(pairs) == 24
    assert sum(abs(start - was) <= 2 for start, was in pairs) >= 20


@pytest.mark.slow
def test_the_label_is_that_of_a_tolerance(published):
    other = [classify(one["series"], profile="barrett2017", tolerance=0.05) for one in published]
    wrong = [one.label != was["label"].replace(" ", "_") for one, was in zip(other, published, strict=True)]
    assert sum(wrong) > 5
    assert {one.tolerance for one in other} == {0.05}


@pytest.mark.parametrize(("noise", "wanted"), [("quiet", 0.98), ("jvm", 0.86)])
def test_planted_classes_of_thirty_values_are_found(planted, noise, wanted):
    right, undecided = planted.right(noise, 30)
    assert right >= wanted
    assert undecided < 0.1


def test_where_only_large_shifts_can_be_seen_flat_is_never_claimed(planted):
    labels = planted.found("flat", "busy", 30)
    assert labels["flat"] == 0
    assert labels["inconclusive"] > 0.8 * sum(labels.values())


def test_a_warm_up_is_told_with_its_end():
    found = {"label": "warmup", "start": 4, "tolerance": 0.05, "profile": "practical", "n": 30}
    assert asdict(classify(STEP_DOWN)) == {**found, "changepoints": (4,), "detectable": 0.0}


@pytest.mark.parametrize(
    ("series", "label", "start"),
    [
        ([1.0] * 30, "flat", 0),
        ([0.0] * 30, "flat", 0),
        ([1.0] * 10 + [1.2] * 20, "slowdown", 10),
        ([1.0] * 23 + [1.2] * 7, "no_steady_state", None),
        ([1.1**at for at in range(30)], "no_steady_state", None),
        ([1.02**at for at in range(20)], "no_steady_state", None),
        ([1.0] * 14 + [4.0] + [1.0] * 15, "flat", 0),
        ([1.0] * 29 + [4.0], "flat", 0),
        ([4.0] + [1.0] * 29, "warmup", 1),
        ([1.0, 1.04] * 15, "flat", 0),
        ([1.0, 1.02] * 150, "flat", 0),
        ([2.0] * 100 + [1.0, 1.02] * 150, "warmup", 100),
        ([1.001**at for at in range(400)], "no_steady_state", None),
        ([1.0], "inconclusive", None),
        ([], "inconclusive", None),
        ([math.nan] * 30, "inconclusive", None),
    ],
)
def test_plain_shapes(series, label, start):
    found = classify(series)
    assert (found.label, found.start) == (label, start)


def test_what_is_not_finite_is_passed_over_and_places_stay_those_given():
    found = classify([math.nan, math.inf, *STEP_DOWN])
    assert (found.label, found.start, found.n, found.changepoints) == ("warmup", 6, 30, (6,))


def test_a_wider_tolerance_calls_more_the_same():
    series = [1.08] * 10 + [1.0] * 20
    assert classify(series).label == "warmup"
    assert classify(series, tolerance=0.10).label == "flat"


def noisy_step(seed, factor, at, size, spread=0.001):
    chance = random.Random(seed)
    return [(factor if place < at else 1.0) * math.exp(chance.gauss(0, spread)) for place in range(size)]


def test_a_narrow_tolerance_tells_small_levels_apart():
    series = noisy_step(1, 1.03, 15, 30)
    found = classify(series, tolerance=0.01)
    assert (found.label, found.start) == ("warmup", 15)
    assert classify(series).label == "flat"


def test_the_start_behind_a_quiet_step_is_found_within_one():
    chance, near = random.Random(3), []
    for seed in range(60):
        size = chance.choice((60, 120))
        at = chance.randrange(5, size // 2)
        found = classify(noisy_step(seed, chance.uniform(1.06, 1.30), at, size))
        near.append(found.start is not None and abs(found.start - at) <= 1)
    assert sum(near) >= 0.95 * len(near)


@pytest.mark.slow
@pytest.mark.parametrize(("tolerance", "right"), [(0.01, 24), (0.02, 17), (0.05, 13)])
def test_the_practical_profile_agrees_with_more_published_labels_the_narrower_its_tolerance(
    published, tolerance, right
):
    labels = [classify(one["series"], tolerance=tolerance).label for one in published]
    assert sum(label == one["label"].replace(" ", "_") for label, one in zip(labels, published, strict=True)) >= right


def test_zero_is_faster_than_anything_the_clock_saw():
    assert classify([1.0] * 10 + [0.0] * 20).label == "warmup"


@pytest.mark.parametrize("profile", ["practical", "barrett2017"])
@pytest.mark.parametrize("scale", [1e-300, 1e-9, 1e9, 1e300])
def test_no_size_of_number_is_too_much(profile, scale):
    assert classify([value * scale for value in STEP_DOWN], profile=profile).n == 30


SERIES = st.lists(st.floats(min_value=1e-3, max_value=1e3) | st.just(0.0), max_size=40)


@given(SERIES, st.sampled_from([1e-9, 0.001, 3.0, 60.0, 1e9]))
def test_no_decision_of_the_practical_profile_depends_on_the_unit(series, unit):
    one, other = classify(series), classify([value * unit for value in series])
    assert (one.label, one.start, one.changepoints) == (other.label, other.start, other.changepoints)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"profile": "krun"}, "profile got 'krun'; wanted one of 'practical', 'barrett2017'"),
        ({"tolerance": 0}, "got tolerance=0; wanted a number above 0"),
        ({"tolerance": math.nan}, "wanted a number above 0"),
        ({"tolerance": "5%"}, "wanted a number above 0"),
    ],
)
def test_what_cannot_work_is_refused(given_, message):
    with pytest.raises(ArgumentError, match=message):
        classify(STEP_DOWN, **given_)


def test_what_is_no_series_is_refused_with_an_example():
    with pytest.raises(ArgumentError, match=r"got a list with what is no number .* report\.measured"):
        classify(["1.0", "2.0"])
