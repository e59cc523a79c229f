"""Reports made of numbers are what the views are tested with."""

from reports import *  # noqa: F403 - fixtures are found by name
