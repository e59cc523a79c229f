"""Several processes that must decide alike, over torch.distributed."""

from jitwarmup.edges.ranks.group import EVERYBODY, RankGroup, checked_ranks, ranks_of
from jitwarmup.edges.ranks.herald import HERALD
from jitwarmup.edges.ranks.identity import identity

__all__ = ["EVERYBODY", "HERALD", "RankGroup", "checked_ranks", "identity", "ranks_of"]
