"""The budgets of the architecture; tests/figures.py has the limits and counts, ``python tests/figures.py -v`` says what."""

import pytest
from figures import LIMITS, figures, to_pynvml

from jitwarmup.gpu.monitor import GPUMonitor
from jitwarmup.testing.nvmlsim.fixture import nvmlsim

__all__ = ["nvmlsim"]

TO_PYNVML = "functions between timed region and pynvml"
NOT_YET: set[str] = {  # over their budget while the package is being redrawn; this set has to become empty
    "lines of the package",
    "functions over 60 lines",
    "files over 350 lines",
    "packages over 16 files",
    "modules of a warm call",
    "Python calls of a warm call",
    TO_PYNVML,
    "functions between the end of a run and the emitter",
    "old words",
    "old names",
    "old class names",
}


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
    assert most <= LIMITS[TO_PYNVML] or TO_PYNVML in NOT_YET, most
