"""No call pays for what came together before it: deaths of instances, earlier warm-ups, long lists. Counted, not timed."""

import gc
import sys

import pytest

from jitwarmup import by_bucket, by_shape, warmed
from jitwarmup.keys.registry import KeyRegistry

MS = 1000  # function calls of ours and of C in a millisecond, well below what any machine makes


def work_of(act) -> int:
    """Function calls that it takes."""
    made = 0

    def count(frame, event, arg):
        nonlocal made
        made += event in ("call", "c_call")

    gc.disable()
    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(None)
        gc.enable()
    return made


class Instance:
    @warmed(iterations=1, emit="off")
    def method(self):
        return self


def test_the_death_of_a_hundred_thousand_instances_is_paid_by_nobody() -> None:
    registry = KeyRegistry()
    instances = [Instance() for _ in range(100_000)]
    for instance in instances:
        registry.entry((registry.instance_id_of(instance), None))
    del instance
    instances.clear()
    left, alive, calls = len(registry.dead), Instance(), 0
    assert left == 100_000
    while registry.dead:
        assert work_of(lambda: registry.instance_id_of(alive)) < 2 * MS
        calls += 1
    assert calls < 2000
    assert len(registry.watching) == 1
    assert registry.entries == registry.keys_of == {}


def test_the_sixty_fifth_warm_up_costs_what_the_third_cost(events) -> None:
    function = warmed(iterations=1, key=lambda x: x)(lambda x: x)
    for number in range(2):
        function(number)
    third = work_of(lambda: function(2))
    for number in range(3, 66):
        function(number)
    assert work_of(lambda: function(66)) < third + 2 * MS


@pytest.mark.parametrize(
    "value",
    [
        [0] * 1_000_000,
        [[0] * 5_000] * 5_000,
        [[[0] * 100] * 100] * 100,
        {"ids": ["prompt"] * 1_000_000},
        (["a"] * 9_999,),
        [()] * 9_999,
    ],
    ids=["long", "wide", "deep", "mapping", "tuple", "empty"],
)
@pytest.mark.parametrize("key", [by_shape, by_bucket([64, 1024])], ids=["by_shape", "by_bucket"])
def test_a_key_over_a_million_items_is_soon_made(key, value) -> None:
    assert work_of(lambda: key(value)) < 200 * MS  # 10,000 items are looked at, and C does most of it
    assert key(value) == key(value)


def test_a_long_list_is_known_by_its_length_alone() -> None:
    key = by_bucket([64, 2_000_000])
    assert key(["word"] * 100_000) == "0 list[2000000]"
    assert key(["word"] * 100) == "0 list[2000000,64]"


def test_a_long_list_hides_no_tensor_beside_it() -> None:
    torch = pytest.importorskip("torch")
    assert "float32[3]" in by_shape({"words": ["a"] * 9_999, "more": ["b"] * 9_999, "ids": torch.zeros(3)})


def test_a_new_instance_at_the_address_of_a_dead_one_is_cold() -> None:
    met = 0
    for _ in range(200):
        one = Instance()
        one.method()
        address = id(one)
        core = Instance.__dict__["method"]._core
        assert one.method.state == "warm"
        del one
        spare = [Instance() for _ in range(4)]
        for other in spare:
            if id(other) == address:
                met += 1
                assert core.bypass_instances.get(address)() is not other
                assert other.method.state == "cold"
    assert met, "no address was used again"
