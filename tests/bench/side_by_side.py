"""
Forty pairs of real runs, both sides in turn in one process: how often is a difference called that is none, and is
+20 % found?

    python tests/bench/side_by_side.py [pairs]

Prints one line for each injected change: how many of the pairs were called slower, faster, the same, or undecided.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections import Counter

from jitwarmup import steady_state
from jitwarmup.analysis.compare import compare
from jitwarmup.analysis.sides import side_of

BLOCK = b"x" * 1000
ROUNDS = 4000  # about 2 ms


def work(rounds: int) -> str:
    digest = hashlib.sha256()
    for _ in range(rounds):
        digest.update(BLOCK)
    return digest.hexdigest()


def calls(factor: float, pairs: int) -> Counter[str]:
    """What is called of so many pairs."""
    found: Counter[str] = Counter()
    for _ in range(pairs):
        with steady_state(iterations=3, measurements=20) as steady:
            old, new = steady.interleave(
                functools.partial(work, ROUNDS), functools.partial(work, round(ROUNDS * factor))
            )
        found[compare(side_of([old]), side_of([new])).of("steady").verdict] += 1
    return found


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    for factor in (1.0, 1.2):
        counts = ", ".join(f"{name} {count}" for name, count in sorted(calls(factor, pairs).items()))
        print(f"{factor - 1:+.0%} injected, {pairs} pairs: {counts}")


if __name__ == "__main__":
    main()
