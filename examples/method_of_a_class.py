"""A method: each instance is warmed up by itself, and is not kept alive by it."""

from jitwarmup import warmed


class Service:
    def __init__(self, factor: int) -> None:
        self.factor = factor
        self.runs = 0

    @warmed(iterations=3)
    def scale(self, x: int) -> int:
        self.runs += 1
        return x * self.factor


first, second = Service(2), Service(3)
first.scale.warm(1)  # at start-up: validate and warm up only
print(first.scale(10), first.runs, first.scale.state, first.scale.ready)
print(second.scale(10), second.runs, second.scale.state)
