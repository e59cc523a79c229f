"""The longest a call is held up by what came together before it: ``python tests/bench/stalls.py``, milliseconds."""

import gc
import time

from jitwarmup import by_bucket, by_shape, warmed
from jitwarmup.testing import capture_events


class Instance:
    @warmed(iterations=1, emit="off")
    def method(self):
        return self


def longest_ms(act, times):
    """The longest of so many."""
    spent = []
    for number in range(times):
        began = time.perf_counter()
        act(number)
        spent.append(time.perf_counter() - began)
    return max(spent) * 1e3


def main() -> None:
    alive, registry = Instance(), Instance.__dict__["method"]._core.registry
    alive.method()
    instances = [Instance() for _ in range(100_000)]
    for instance in instances:
        registry.instance_id_of(instance)
    del instance, instances
    print(f"calls after the death of 100,000 instances: {longest_ms(lambda _: Instance().method(), 1700):.2f}")
    function = warmed(iterations=1, key=lambda x: x)(lambda x: x)
    print(f"cold keys, 200 of them: {longest_ms(function, 200):.2f}")
    for name, value in {"1,000,000": [0] * 1_000_000, "5,000 x 5,000": [[0] * 5_000] * 5_000}.items():
        for key in (by_shape, by_bucket([64, 1024])):
            print(f"{key.__name__} over {name} items: {longest_ms(lambda _, k=key, v=value: k(v), 20):.2f}")


if __name__ == "__main__":
    with capture_events():
        gc.disable()  # the collector's own pauses are the user's
        main()
