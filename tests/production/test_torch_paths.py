"""Against real torch: the context of awarm, the recompile limit, coverage by shape."""

import asyncio

import torch

from jitwarmup import State, by_shape, warmed


def lost(events):
    return [event for event in events if event["event"] == "jitwarmup.steady_state.lost"]


def test_awarm_under_no_grad_then_one_call_under_no_grad_is_one_graph(compiled, events) -> None:
    ours = compiled()
    function = warmed(iterations=2)(ours.call)
    x = torch.ones(8, requires_grad=True)

    async def main():
        with torch.no_grad():
            await function.awarm(x)
            return function(x)

    assert not asyncio.run(main()).requires_grad
    assert ours.graphs == 1
    assert lost(events) == []


def test_without_carrying_the_state_it_would_be_another_program(compiled, events) -> None:
    """The control: the check above can fail."""
    ours = compiled()
    function = warmed(iterations=2)(ours.call)
    x = torch.ones(8, requires_grad=True)

    async def main():
        with torch.no_grad():
            await asyncio.to_thread(function.warm, x)
            return function(x)

    asyncio.run(main())
    assert ours.graphs == 2
    assert len(lost(events)) == 1


def test_awarm_under_autocast_and_a_default_device_is_one_graph(compiled) -> None:
    ours = compiled()
    function = warmed(iterations=1)(ours.call)

    async def main():
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode(), torch.device("cpu"):
            x = torch.ones(8)
            await function.awarm(x)
            return function(x)

    asyncio.run(main())
    assert ours.graphs == 1


def test_the_recompile_limit_is_warned_of_once_and_then_degrades_for_good(compiled, events) -> None:
    ours = compiled()
    function = warmed(iterations=1, name="service", on_new_key="pass")(ours.call)
    function.warm(torch.ones(2))
    limit = torch._dynamo.config.recompile_limit
    near = []
    for size in range(3, 20):
        function(torch.ones(size))
        near = [event for event in lost(events) if event["reason"] == "recompile limit nearly spent"]
        if ours.graphs < 0.75 * limit:
            assert near == []
    assert len(near) == 1
    assert (near[0]["used"], near[0]["limit"], near[0]["label"]) == (6, 8, "service")
    assert ours.graphs == limit
    for _ in range(5):
        function(torch.ones(2))
    assert function.state is State.DEGRADED
    assert function.status()["last_reason"] == "eager_fallback"
    assert function.ready


def test_each_loss_by_a_recompile_tells_how_much_of_the_limit_is_used(compiled, events) -> None:
    ours = compiled()
    function = warmed(iterations=1)(ours.call)
    function.warm(torch.ones(2))
    for size in (3, 4):
        function(torch.ones(size))
    assert [(event["used"], event["limit"]) for event in lost(events)] == [(2, 8), (3, 8)]


def test_a_warm_up_that_nearly_spends_the_limit_is_warned_of(compiled, events) -> None:
    ours = compiled()
    function = warmed(iterations=1, key=by_shape)(ours.call)
    function.warm_all([torch.ones(size) for size in range(2, 9)])
    assert [event["used"] for event in lost(events)] == [6]


def test_coverage_by_shape_names_what_a_miss_paid(compiled) -> None:
    ours = compiled()
    function = warmed(iterations=1, key=by_shape)(ours.call)
    function.warm(torch.ones(2))
    for size in (2, 2, 3, 3):
        function(torch.ones(size))
    (one,) = function.coverage().missed
    assert (one.key, one.count) == ("0 float32[3] cpu", 2)
    assert 0 < one.paid_s <= one.first_s
    assert function.coverage().share == 0.5
