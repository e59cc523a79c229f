"""Several processes that must decide alike, over torch.distributed."""

from jitwarmup.distributed.group import EVERYBODY, RankGroup, checked_ranks, ranks_of
from jitwarmup.distributed.notices import identity

__all__ = ["EVERYBODY", "RankGroup", "checked_ranks", "identity", "ranks_of"]
