"""
What mypy cannot express, as README.md lists it: each ``# limit:`` is one of its lines, shown by what follows.

test_typing.py imports this module, so every line runs. Where a line ends in ``# mypy: <code>``, mypy complains of it all
the same; ``# mypy: silent``: it should, and does not.
"""

import functools
from typing import Any, overload

import pytest

from jitwarmup import warmed


def join(one: int, two: str) -> str:
    return f"{one}{two}"


@overload
def twice(x: int) -> int: ...
@overload
def twice(x: str) -> str: ...
def twice(x: Any) -> Any:
    return x + x


class Methods:
    @staticmethod
    @warmed()
    def below(x: int) -> int:
        return x

    @warmed()
    @staticmethod
    def above(x: int) -> int:
        return x

    @classmethod
    @warmed()
    def under(cls, x: int) -> int:
        return x

    @warmed()
    @classmethod
    def over(cls, x: int) -> int:
        return x


# limit: a `functools.partial`
first_given = warmed()(functools.partial(join, 1))
assert first_given("a") == "1a"
with pytest.raises(TypeError):
    first_given("a", "b", "c")  # mypy: silent

# limit: an overloaded callable
doubled = warmed()(twice)
assert doubled(2) == 4
assert doubled("a") == "aa"  # mypy: arg-type

# limit: a static method called through an instance
assert Methods.below(3) == Methods.above(3) == 3
assert Methods().below(3) == 3  # mypy: call-arg
assert Methods().above(3) == 3  # mypy: call-arg

# limit: a class method called through its class
assert Methods().under(3) == Methods().over(3) == 3
assert Methods.under(3) == 3  # mypy: call-arg
assert Methods.over(3) == 3  # mypy: call-arg
assert Methods.over.warm(3).runs  # mypy: call-arg
