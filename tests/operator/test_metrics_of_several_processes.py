"""With PROMETHEUS_MULTIPROC_DIR, what is scraped is what the processes know, after whatever happens to them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
STEPS = ["warm", "forked", "recompiled", "recovered", "reset", "died"]


@pytest.mark.slow
@pytest.mark.parametrize(("emit", "on_loss"), [("calls", "mark"), ("summary", "unready")])
def test_gauges_equal_the_librarys_own_state(emit, on_loss, tmp_path):
    pytest.importorskip("prometheus_client")
    env = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    command = [sys.executable, str(HERE / "metered.py"), emit, on_loss]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == STEPS
