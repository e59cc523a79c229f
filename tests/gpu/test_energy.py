"""Energy over the standard trace: how wrong it is, and that every error is within the bound that was stated."""

import pytest


@pytest.mark.parametrize(
    ("seconds", "allowed"),
    [(0.05, 0.10), (0.1, 0.03), (0.2, 0.01), (0.5, 0.003), (1.0, 0.003), (2.0, 0.003), (8.0, 0.003)],
)
def test_energy_of_measured_windows_is_as_good_as_promised(bench, nvmlsim, seconds, allowed):
    errors, outside, bound = bench.energy_errors(nvmlsim, seconds, 60)
    assert outside == 0
    assert bench.rms(errors["ours"]) <= allowed
    assert bound < 1.5
    assert bench.rms(errors["ours"]) < bench.rms(errors["poll 20 Hz, instant"])


@pytest.mark.parametrize("seconds", [0.013, 0.1, 0.7, 3.0])
def test_energy_of_plain_calls_is_within_its_bound_too(bench, nvmlsim, seconds):
    _, outside, _ = bench.energy_errors(nvmlsim, seconds, 30, "call")
    assert outside == 0


def test_the_peers_methods_of_the_bench_are_what_peers_do(bench, nvmlsim):
    errors, _, _ = bench.energy_errors(nvmlsim, 0.1, 40)
    assert bench.rms(errors["counter delta"]) > 0.2
    assert bench.rms(errors["poll 20 Hz, 1 s mean"]) > 0.1
    assert 0.05 < bench.rms(errors["poll 20 Hz, instant"]) < 0.5
