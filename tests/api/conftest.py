"""No real probes here (they have tests of their own): fixtures over a scripted set, and several ranks in one process."""

from scripted import *  # noqa: F403 - fixtures are found by name
