"""Numbers with units, for people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitwarmup.records.units import SCALES, span
from jitwarmup.views.text import columns

SPANS = [
    (None, "-"),
    (0, "0 s"),
    (0.0, "0 s"),
    (1.0, "1 s"),
    (12.345, "12.3 s"),
    (999.4, "999 s"),
    (999.7, "1000 s"),
    (1234.5, "1234 s"),
    (0.99999, "1 s"),
    (0.0009996, "1 ms"),
    (0.348, "348 ms"),
    (0.001, "1 ms"),
    (12.34e-6, "12.3 us"),
    (5e-9, "5 ns"),
    (2.5e-10, "0.25 ns"),
    (-1.5, "-1.5 s"),
    (-0.002, "-2 ms"),
]


@pytest.mark.parametrize(("seconds", "wanted"), SPANS)
def test_seconds_are_shown_in_the_unit_that_suits_them(seconds, wanted):
    assert span(seconds) == wanted


@given(st.floats(1e-9, 1e9))
def test_what_is_shown_is_the_number_to_three_digits(seconds):
    number, unit = span(seconds).split(" ")
    assert "e" not in number
    assert float(number) * {unit: scale for scale, unit in SCALES}[unit] == pytest.approx(seconds, rel=0.006)


def test_a_table_has_its_second_column_flush_right():
    assert columns([("cold", "3 s"), ("steady median", "348 ms")]) == ["cold              3 s", "steady median  348 ms"]
