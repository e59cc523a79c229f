"""Torch's records: what is new in them, and what a field means where it is there."""

from collections import deque
from types import SimpleNamespace

import pytest

from jitwarmup.probes import dynamo_records
from jitwarmup.probes.dynamo import latest


def test_new_records_are_those_after_the_last_known_one(record):
    a, b, c = record(), record(), record()
    assert dynamo_records.added((a,), (a, b, c)) == ((b, c), False)
    assert dynamo_records.added((), (a,)) == ((a,), False)
    assert dynamo_records.added((a,), (a,)) == ((), False)


def test_equal_records_are_told_apart_by_identity(record):
    a, b = record(), record()
    assert a == b
    assert dynamo_records.added((a,), (a, b))[0][0] is b


def test_an_overflow_makes_everything_new_and_says_so(record):
    assert dynamo_records.added((record(),), (b := record(), c := record())) == ((b, c), True)


def test_a_cleared_deque_has_nothing_new(record):
    assert dynamo_records.added((record(),), ()) == ((), False)


def test_known_records_that_were_pushed_out_do_not_hide_the_new_ones(record):
    a, b, c, d = (record() for _ in range(4))
    assert dynamo_records.added((a, b), (b, c, d)) == ((c, d), False)


def test_the_latest_records_identity_follows_a_deque_that_was_bound_anew(record):
    first = record()
    module = SimpleNamespace(_compilation_metrics=deque([first], maxlen=64))
    assert latest(module) == id(first)
    module._compilation_metrics = deque(maxlen=0)
    assert latest(module) == 0
    assert latest(SimpleNamespace()) == 0


def test_a_deque_that_is_cleared_between_two_looks_has_no_latest_record():
    class Emptied(deque):
        def __bool__(self):
            return True

    assert latest(SimpleNamespace(_compilation_metrics=Emptied())) == 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"dynamo_cumulative_compile_time_us": 2_500_000}, 2.5),
        ({"dynamo_cumulative_compile_time_us": None, "backward_cumulative_compile_time_us": 500_000}, 0.5),
        ({"duration_us": 7}, 7e-6),
        ({"duration_us": None}, None),
        ({"duration_us": "unknown"}, None),
        ({}, None),
    ],
)
def test_a_frames_seconds_come_from_the_first_field_that_is_there(fields, expected):
    assert dynamo_records.frame_seconds(SimpleNamespace(**fields)) == expected


def test_a_record_without_both_ends_has_no_interval():
    assert dynamo_records.interval_us(SimpleNamespace(start_time_us=1)) is None
    assert dynamo_records.interval_us(SimpleNamespace(start_time_us=1, end_time_us=2)) == (1, 2)


def test_the_common_scope_is_told_only_where_all_records_share_it(record):
    scopes = iter(["own", "own", "own", "foreign", None])
    a, b = record(), record()
    assert dynamo_records.common_scope([a, b], lambda _: next(scopes), "shared") == "own"
    assert dynamo_records.common_scope([a, b], lambda _: next(scopes), "shared") == "shared"
    assert dynamo_records.common_scope([a], lambda _: next(scopes), "shared") == "shared"
    assert dynamo_records.common_scope([], dynamo_records.everything_own, "own") == "own"
