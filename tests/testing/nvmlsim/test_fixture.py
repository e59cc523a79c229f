"""The fixture in somebody else's project: a test of theirs, run by their pytest."""

import os
import subprocess
import sys

import pytest

THEIRS = """
import pynvml
import pytest
from jitwarmup.testing import nvmlsim

def test_a_lost_gpu(nvmlsim):
    nvmlsim.gpus(2)
    nvmlsim.set("power_w", 250, gpu=1)
    nvmlsim.advance(2)
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(1)
    assert pynvml.nvmlDeviceGetPowerUsage(handle) == 250_000
    nvmlsim.fault("nvmlDeviceGetPowerUsage", "GPU_IS_LOST")
    with pytest.raises(pynvml.NVMLError):
        pynvml.nvmlDeviceGetPowerUsage(handle)
    assert [call.returned for call in nvmlsim.calls()][-2:] == [0, 15]
    pynvml.nvmlShutdown()

def test_the_next_one_meets_a_fresh_machine(nvmlsim):
    assert nvmlsim.calls() == []
"""


@pytest.fixture
def theirs(tmp_path):
    (tmp_path / "test_theirs.py").write_text(THEIRS)

    def run(**environment):
        command = [sys.executable, "-m", "pytest", "-rs", "-q", "-p", "no:cacheprovider", "test_theirs.py"]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **environment}
        )
        return done.stdout

    return run


def test_somebody_else_s_tests_run_over_the_simulation(theirs):
    assert "2 passed" in theirs()


def test_without_a_compiler_they_are_skipped_and_say_why(theirs):
    result = theirs(PATH="/nowhere", CC="")
    assert "2 skipped" in result
    assert "no C compiler" in result


@pytest.mark.parametrize("order", [1, -1])
def test_the_name_is_the_fixture_whatever_is_imported_first(order):
    imports = [
        "from jitwarmup.testing import nvmlsim",
        "from jitwarmup.testing.nvmlsim import Simulation",
        "import jitwarmup.testing.nvmlsim.driver",
        "from jitwarmup.testing.nvmlsim.fixture import nvmlsim as fixture",
    ]
    code = "; ".join(
        [*imports[::order], "from jitwarmup import testing", "assert nvmlsim is testing.nvmlsim is fixture"]
    )
    subprocess.run([sys.executable, "-c", code], check=True)
