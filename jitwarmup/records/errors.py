"""
Every error jitwarmup raises of its own accord. A user's own exception is never wrapped in one of these.

JitwarmupError
├── ArgumentError          (also a TypeError)     something given to us cannot work; said before user code runs
├── NotReady               (also a RuntimeError)  ``while_warming="raise"`` and somebody else is warming this key
├── Overlap                (also a RuntimeError)  one ``steady`` or ``trial`` used by two at once, or entered twice
├── MonitorStateError      (also a RuntimeError)  a monitor asked for what its state does not allow
├── MeasurementFailed      (also a RuntimeError)  a loaded report's failure, or a policy that asked to raise
└── RankFailed             (also a RuntimeError)  another rank failed, left, died or did not come

Each message says what was got, what was wanted, and the way out.
"""


class JitwarmupError(Exception):
    """Base of every error raised by jitwarmup itself."""


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
