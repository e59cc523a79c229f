"""
Every error jitwarmup raises of its own accord. A user's own exception is never wrapped in one of these.

Each message says what was got, what was wanted, and the way out.
"""

from jitwarmup.records.text import shortened


class JitwarmupError(Exception):
    """Base of every error raised by jitwarmup itself; its text is one printable line, whatever was given."""

    def __str__(self) -> str:
        return shortened(super().__str__())


class ArgumentError(JitwarmupError, TypeError):
    """Something given to jitwarmup cannot work; no user code has run because of it."""


class NotReady(JitwarmupError, RuntimeError):  # noqa: N818 - the contract's name
    """The key is being warmed by another caller and ``while_warming="raise"`` was chosen."""


class Overlap(JitwarmupError, RuntimeError):  # noqa: N818 - the contract's name
    """One ``steady`` block or ``trial`` was used by two callers at once, or entered twice."""


class MonitorStateError(JitwarmupError, RuntimeError):
    """A monitor was asked for something that its state does not allow."""


class MeasurementFailed(JitwarmupError, RuntimeError):  # noqa: N818 - the contract's name
    """A measurement failed, and the original exception is not at hand (loaded report) or a policy asked to raise."""


class RankFailed(JitwarmupError, RuntimeError):  # noqa: N818 - as MeasurementFailed
    """
    Another rank of the job failed, was interrupted, died, or did not come to the agreement in time.

    ``ranks`` are those that failed; ``left``: they went their own way (an interrupt, say), and may come again.
    """

    def __init__(self, message: str, ranks: tuple[int, ...] = (), *, left: bool = False) -> None:
        super().__init__(message)
        self.ranks = ranks
        self.left = left
