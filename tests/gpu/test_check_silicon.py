"""The check of real silicon runs, here over the simulated driver, and says so where there is no GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jitwarmup.testing import nvmlsim

__all__ = ["nvmlsim"]
SCRIPT = str(Path(__file__).with_name("check_silicon.py"))


def test_without_a_gpu_it_says_so_and_exits_with_4():
    hidden = {**os.environ, "LD_LIBRARY_PATH": "", "NVMLSIM_CTL": ""}
    done = subprocess.run([sys.executable, SCRIPT], check=False, capture_output=True, text=True, env=hidden, timeout=60)
    if done.returncode != 4:
        pytest.skip("there is a GPU here")
    assert done.stdout == ""
    assert done.stderr.startswith("No GPU to check here: no NVIDIA driver here")


@pytest.mark.slow
def test_over_the_simulation_everything_agrees(nvmlsim):
    nvmlsim.host_clock()
    done = subprocess.run([sys.executable, SCRIPT], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ring: period                                 20.00 ms" in done.stdout
    assert "NVIDIA H100 80GB SIM" in done.stdout
    assert "agrees: True" in done.stdout
