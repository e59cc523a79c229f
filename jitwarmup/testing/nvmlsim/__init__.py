"""A simulated NVML driver (`nvmlsim.c`), the scenario API over it, and the pytest fixture that offers both."""

from jitwarmup.testing.nvmlsim.driver import Call, NoCompiler, Simulation, build

__all__ = ["Call", "NoCompiler", "Simulation", "build"]
