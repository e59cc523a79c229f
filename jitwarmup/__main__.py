"""``python -m jitwarmup``."""

import os
import sys

if sys.path and sys.path[0] in ("", os.getcwd()):
    del sys.path[
        0
    ]  # else a json.py that lies here would be taken for the standard library's; targets are found all the same

from jitwarmup.cli import main

if __name__ == "__main__":
    sys.exit(main())
