"""Each second once."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitwarmup import OneTimeWork
from jitwarmup.analysis.costs import FRAMES, WITHIN, exclusive_costs


def work(kind, seconds, reason=None, scope="own"):
    return OneTimeWork(kind=kind, duration_s=seconds, reason=reason, scope=scope)


def test_a_capture_alone_is_charged_in_full():
    assert exclusive_costs([work("dynamo.capture", 2.0)], 3.0) == {"dynamo.capture": 2.0}


def test_nested_seconds_are_taken_from_what_they_are_nested_in():
    costs = exclusive_costs(
        [
            work("dynamo.capture", 11.8),
            work("inductor.compile", 11.4, WITHIN),
            work("cpp.compile", 10.3, WITHIN),
            work("gc.collect", 0.1, WITHIN),
        ],
        12.0,
    )
    assert costs == pytest.approx(
        {"cpp.compile": 10.3, "gc.collect": 0.1, "inductor.compile": 1.0, "dynamo.capture": 0.4}
    )


def test_builds_that_ran_side_by_side_are_never_more_than_their_frame():
    costs = exclusive_costs([work("dynamo.capture", 65.0), work("cpp.compile", 77.0, WITHIN)], 65.5)
    assert costs == pytest.approx({"cpp.compile": 65.0})


def test_builds_outside_inductor_are_taken_from_the_frame_itself():
    costs = exclusive_costs([work("dynamo.capture", 1.0), work("cpp.compile", 0.1, WITHIN)], 2.0)
    assert costs == pytest.approx({"cpp.compile": 0.1, "dynamo.capture": 0.9})


def test_the_frames_share_what_is_left_by_their_seconds():
    costs = exclusive_costs(
        [work("dynamo.capture", 3.0), work("dynamo.recompile", 1.0), work("inductor.compile", 2.0, WITHIN)], 9.0
    )
    assert costs == pytest.approx({"inductor.compile": 2.0, "dynamo.capture": 1.5, "dynamo.recompile": 0.5})


def test_work_beside_a_compile_is_added_to_it():
    costs = exclusive_costs(
        [work("dynamo.capture", 1.0), work("autotune", 0.5, "at run time"), work("gc.collect", 0.25)], 9.0
    )
    assert costs == pytest.approx({"dynamo.capture": 1.0, "autotune": 0.5, "gc.collect": 0.25})


def test_work_of_others_and_work_without_a_duration_cost_nothing():
    beside = [
        work("dynamo.capture", 5.0, scope="foreign"),
        work("allocator.grow", 5.0, scope="shared"),
        work("import", None),
    ]
    assert exclusive_costs(beside, 1.0) == {}
    assert exclusive_costs([work("dynamo.capture", 5.0)], 0.0) == {}


def test_the_wall_is_never_exceeded():
    assert exclusive_costs([work("dynamo.capture", 2.0), work("gc.collect", 2.0)], 1.0) == pytest.approx(
        {"dynamo.capture": 0.5, "gc.collect": 0.5}
    )


KINDS = [
    "dynamo.capture",
    "dynamo.recompile",
    "aot.backward",
    "inductor.compile",
    "cpp.compile",
    "autotune",
    "gc.collect",
]
WORK = st.builds(
    work,
    st.sampled_from(KINDS),
    st.one_of(st.none(), st.just(math.inf), st.just(math.nan), st.floats(1e-9, 1e6)),
    st.sampled_from([None, WITHIN]),
    st.sampled_from(["own", "foreign", "shared"]),
)


@given(st.lists(WORK, max_size=12), st.floats(1e-9, 1e6))
def test_no_second_twice(items, wall_s):
    costs = exclusive_costs(items, wall_s)
    assert all(spent > 0 for spent in costs.values())
    assert sum(costs.values()) <= wall_s * (1 + 1e-9)


@given(st.lists(WORK, max_size=12))
def test_compile_seconds_are_the_frames_seconds(items):
    """What torch's records sum to: Inductor, builds and tuning are within it."""
    items = [item for item in items if item.reason == WITHIN or item.kind in FRAMES]
    own = [item.duration_s for item in items if item.kind in FRAMES and item.charged]
    own = [spent for spent in own if spent is not None and math.isfinite(spent)]
    if sum(own) > 0:
        assert sum(exclusive_costs(items, 1e12).values()) == pytest.approx(sum(own))
