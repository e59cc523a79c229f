"""Fixtures over a scripted set of probes, as in the tests of the engine; and ``servers.py`` can be imported."""

import sys
from pathlib import Path

from scripted import *  # noqa: F403 - fixtures are found by name

sys.path.insert(0, str(Path(__file__).parent))
