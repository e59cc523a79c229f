from reports import *  # noqa: F403 - fixtures are found by name
