"""Growth is what goes on and on: leaks are found, caches that fill and noise are not."""

import random

import pytest

from jitwarmup.analysis.growth import growth_per_run, growths

MIB = 1 << 20


def test_a_leak_of_a_megabyte_a_run_is_told_with_its_rate() -> None:
    (reason,) = growths({"memory_bytes": [100 * MIB + n * MIB for n in range(20)], "descriptors": [9] * 20})
    assert reason.kind == "memory_grows"
    assert reason.numbers == {"bytes_per_run": float(MIB), "runs": 20.0}


def test_descriptors_and_graphs_have_their_own_kinds() -> None:
    found = growths({"descriptors": list(range(10)), "graphs": [2 * n for n in range(10)]})
    assert {reason.kind: next(iter(reason.numbers.values())) for reason in found} == {
        "descriptors_grow": 1.0,
        "graphs_grow": 2.0,
    }


@pytest.mark.parametrize(
    "sizes",
    [
        [5] * 20,
        list(range(7)),
        [0, 5, 9, 12, 14, 15, *[15] * 14],
        [1, 2] * 10,
        list(range(20, 0, -1)),
        [None] * 20,
        [*range(19), None],
        [],
        [0] * 19 + [1000],
        [1000] + [2000] * 19,
        [0] * 7 + [5] * 6 + [9] * 7,
    ],
    ids=[
        "flat",
        "short",
        "fills",
        "swings",
        "falls",
        "absent",
        "a hole",
        "empty",
        "one step late",
        "one step early",
        "two steps",
    ],
)
def test_what_does_not_go_on_is_not_told(sizes) -> None:
    assert growth_per_run(sizes) is None


def test_a_leak_in_every_third_run_is_found() -> None:
    (reason,) = growths({"descriptors": [at // 3 for at in range(24)]})
    assert reason.numbers["descriptors_per_run"] == pytest.approx(1 / 3, abs=0.05)


def test_memory_noise_of_a_few_pages_is_not_told() -> None:
    assert growths({"memory_bytes": [100 * MIB + n * 4096 for n in range(20)]}) == []


def test_noise_alone_is_hardly_ever_growth() -> None:
    chance = random.Random(5)
    false = sum(growth_per_run([chance.randrange(1000) for _ in range(20)]) is not None for _ in range(500))
    assert false <= 5  # 1 %


def test_a_leak_under_noise_is_found() -> None:
    chance = random.Random(5)
    series = [[100 * MIB + n * MIB + chance.randrange(MIB) for n in range(20)] for _ in range(100)]
    assert sum(growth_per_run(one) is not None for one in series) >= 95
