"""The pytest fixture ``nvmlsim``; `jitwarmup.testing` hands it on to other people's projects."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jitwarmup.testing.nvmlsim.driver import NoCompiler, Simulation, build

_loaded: list[Simulation] = []  # at most one: a process can load only one driver, however many conftests ask


def _machine(factory: pytest.TempPathFactory) -> Simulation:
    if not _loaded:
        pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
        directory = factory.mktemp("nvmlsim")
        simulation = Simulation(build(directory), directory / "machine")
        simulation.bind(pynvml)
        _loaded.append(simulation)
    return _loaded[0]


@pytest.fixture
def nvmlsim(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulation]:
    """
    A fresh simulated machine with one NVIDIA GPU on a manual clock; child processes of the test see it too.

    See `Simulation` for scenarios, faults and the log of calls. The driver is compiled and loaded once per session;
    where there is no C compiler, no Linux or no nvidia-ml-py the test is skipped and says so.
    """
    try:
        simulation = _machine(tmp_path_factory)
    except NoCompiler as missing:
        pytest.skip(str(missing))
    environment = simulation.environment()
    for name in ("LD_LIBRARY_PATH", "NVMLSIM_CTL"):
        monkeypatch.setenv(name, environment[name])
    # what the host, or the launcher of several processes, hides is not hidden in the simulation
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    simulation.gpus(1)
    yield simulation
    simulation.heal()
