"""Keys by shape and by bucket: what they tell apart, what they do not, and that no value is ever in them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jitwarmup import ArgumentError, by_bucket, by_shape, warmed


def test_a_key_names_shape_dtype_and_device_of_each_tensor() -> None:
    key = by_shape(torch.zeros(1, 8), mask=np.zeros((2, 3), np.int64))
    assert key.label(["mask"]) == "0 float32[1,8] cpu; mask int64[2,3] cpu"
    assert "mask" not in key


@pytest.mark.parametrize(
    "other",
    [torch.zeros(8, 1), torch.zeros(1, 8, dtype=torch.float64), torch.zeros(1, 8, device="meta")],
    ids=["shape", "dtype", "device"],
)
def test_another_shape_dtype_or_device_is_another_key(other) -> None:
    assert by_shape(other) != by_shape(torch.zeros(1, 8))


def test_values_are_no_part_of_a_key() -> None:
    assert by_shape(torch.zeros(2), "secret", 3) == by_shape(torch.ones(2), "other words", 4)
    assert by_shape("secret") == "no tensors"


def test_nested_containers_are_walked_and_their_keys_go_by_position() -> None:
    key = by_shape({"secret": [torch.zeros(2)], "b": (torch.zeros(3),)}, batch={"secret": torch.zeros(4)})
    assert key.label(["batch"]) == "0.0.0 float32[2] cpu; 0.1.0 float32[3] cpu; batch.0 float32[4] cpu"


def test_the_order_of_keywords_does_not_matter() -> None:
    x, y = torch.zeros(1), torch.zeros(2)
    assert by_shape(a=x, b=y) == by_shape(b=y, a=x)


def test_a_container_that_holds_itself_is_no_trap() -> None:
    loop: list[object] = [torch.zeros(1)]
    loop.append(loop)
    assert by_shape(loop).count("float32[1]") == 4


def test_a_very_long_key_has_a_short_label_of_its_own() -> None:
    one, two = by_shape([torch.zeros(9)] * 50), by_shape([*[torch.zeros(9)] * 49, torch.zeros(8)])
    assert len(one.label(())) <= 120
    assert one.label(()) != two.label(())


def test_buckets_round_every_dimension_up() -> None:
    key = by_bucket([64, 16])
    assert key(torch.zeros(3, 17)) == "0 float32[16,64] cpu"
    assert key(torch.zeros(16, 64)) == key(torch.zeros(1, 33))
    assert key(torch.zeros(65)) == "0 float32[>64] cpu"


def test_buckets_hold_the_lengths_of_texts_and_lists() -> None:
    key = by_bucket([4, 8])
    assert key("hello", x=["a", "four five"]).label("x") == "0 str[8]; x list[4,>8]"
    assert key([[1, 2], [1, 2, 3, 4, 5]]) == "0 list[4,8]"
    assert key(3) == "no sizes"


@given(st.lists(st.integers(1, 10_000), min_size=1), st.integers(0, 20_000))
def test_a_bucket_is_the_least_size_that_holds_it(sizes, length) -> None:
    fits = [size for size in sizes if size >= length]
    assert by_bucket(sizes)("x" * length) == f"0 str[{min(fits) if fits else f'>{max(sizes)}'}]"


@pytest.mark.parametrize("sizes", [[], [0], [True], [1.5], "64", None, 64])
def test_sizes_that_cannot_work_are_refused(sizes) -> None:
    with pytest.raises(ArgumentError, match=r"wanted a list such as \[64, 256, 1024\]"):
        by_bucket(sizes)


def test_a_label_holds_no_keyword_that_the_function_does_not_declare(events) -> None:
    @warmed(iterations=0, key=by_shape)
    def function(x, mask=None, **more) -> None: ...

    tensor = torch.zeros(2)
    for more in ({"a secret; x": tensor}, {"another secret": [tensor]}, {"x.0": tensor, "mask float32[9]": tensor}):
        function(tensor, mask=tensor, **more)
    keys = {event["key"] for event in events}
    assert len(keys) == 3  # different names are different keys, and so are their labels
    assert all("0 float32[2] cpu" in key and "mask float32[2] cpu" in key for key in keys)
    assert not any("secret" in key or "x.0" in key or "[9]" in key for key in keys)


def test_a_warmed_function_warms_up_for_each_shape(events) -> None:
    runs = []
    function = warmed(iterations=1, key=by_shape)(lambda x: runs.append(1))
    for size in (2, 3, 2):
        function(torch.zeros(size))
    assert len(runs) == 3 + 3 + 1
    assert {event["key"] for event in events} == {"0 float32[2] cpu", "0 float32[3] cpu"}
