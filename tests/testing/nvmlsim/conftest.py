from jitwarmup.testing.nvmlsim.fixture import nvmlsim

__all__ = ["nvmlsim"]
