"""``python -m jitwarmup``."""

import os
import sys

if sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109 - nothing more is imported before this
    del sys.path[0]  # else a json.py that lies here would be the standard library's to all that follows

from jitwarmup.cli import main

if __name__ == "__main__":
    sys.exit(main())
