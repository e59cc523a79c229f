from jitwarmup.edges.monitors.sim.fixture import nvmlsim

__all__ = ["nvmlsim"]
