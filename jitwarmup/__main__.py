"""``python -m jitwarmup``."""

import sys

from jitwarmup.cli import main

if __name__ == "__main__":
    sys.exit(main())
