from jitwarmup.testing import nvmlsim

__all__ = ["nvmlsim"]
