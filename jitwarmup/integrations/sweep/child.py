"""One configuration of a sweep in a process of its own: read from stdin, its result appended to the file named."""

from __future__ import annotations

import json
import sys

from jitwarmup.integrations.sweep.configurations import configuration
from jitwarmup.integrations.sweep.runner import Sweep


def main(answer: str) -> None:
    """Run it."""
    asked = configuration(json.loads(sys.stdin.read()))
    sweep = Sweep([asked], answer)
    sweep.file.append(sweep.one(asked))


if __name__ == "__main__":
    main(sys.argv[1])
