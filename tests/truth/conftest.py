import pytest
import torch
from reports import *  # noqa: F403 - fixtures are found by name


@pytest.fixture
def fresh_programs():
    """No program that an earlier test compiled, and none left for the next."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
