"""transformers: token times, facts of generation, and ``model.generate`` warmed up as it is."""

from jitwarmup.integrations.transformers.tokens import TokenTimer, TokenTimes
from jitwarmup.integrations.transformers.warmed import (
    Timing,
    WarmedGeneration,
    attached,
    time_generate,
    warmed_generation,
)

__all__ = ["Timing", "TokenTimer", "TokenTimes", "WarmedGeneration", "attached", "time_generate", "warmed_generation"]
