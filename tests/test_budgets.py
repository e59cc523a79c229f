"""The budgets of the architecture; tests/figures.py has the limits and counts, ``python tests/figures.py -v`` says what."""

import pytest
from figures import LIMITS, figures, to_pynvml

from jitwarmup import GPUMonitor
from jitwarmup.testing import nvmlsim

__all__ = ["nvmlsim"]

TO_PYNVML = "functions between timed region and pynvml"
NOT_YET: set[str] = set()  # what is over its budget, and why


@pytest.fixture(scope="module")
def counted():
    return figures()


@pytest.mark.parametrize("name", [name for name in LIMITS if name != TO_PYNVML and name not in NOT_YET])
def test_a_figure_keeps_its_budget(counted, name):
    assert counted[name] <= LIMITS[name]


def test_every_figure_has_a_budget(counted):
    assert {*counted, TO_PYNVML} == set(LIMITS)


def test_a_gpu_reading_reaches_pynvml_in_few_functions(nvmlsim, capsys):
    most = to_pynvml(nvmlsim.adopt(GPUMonitor()))
    assert most > 0, "no reading was made"
    with capsys.disabled():
        print(f"\n{TO_PYNVML}: {most}")
    assert most <= LIMITS[TO_PYNVML]
