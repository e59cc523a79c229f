"""What the jobs have in common: a control that is not warmed, the same in a plan, and what the tests are told of both."""

import inspect
import json
import os
import sys
from collections.abc import Generator
from pathlib import Path

import torch
import torch.distributed as dist

from jitwarmup import steady_state, warmed
from jitwarmup.testing import capture_events

RANK = int(os.environ["RANK"])
RESULTS = {}
PLAN = {"iterations": 2, "measurements": 4}


def plain(value):
    """Tensors as nested lists of exact numbers; a stream to its end."""
    if isinstance(value, tuple | list | Generator):
        return [plain(each) for each in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


def keeping(function):
    """The same function under its own name, and a list of what its runs returned."""
    made = []

    def returned(*args):
        value = function(*args)
        made.append(plain(value))
        return value

    def streamed(*args):
        made.append(items := [])
        for item in function(*args):
            items.append(plain(item))
            yield item

    kept = streamed if inspect.isgeneratorfunction(function) else returned
    for name in ("__module__", "__name__", "__qualname__"):
        setattr(kept, name, getattr(function, name))
    return kept, made


def seeded(call):
    """A call from the same random state every time; another one on every rank."""
    torch.manual_seed(7 + RANK)
    return call()


def measured(title, make, *args, ranks="world", name=None, **settings):
    """
    Measure ``make()(*args)`` in step, and make a first call of it warmed, beside controls that nobody warmed.

    The measurement agrees with all ranks by itself, unless ``ranks`` names fewer.
    """
    control = seeded(lambda: plain(make()(*args)))
    function, made = keeping(make())
    block = {**PLAN, **settings, "name": name} | ({} if ranks == "world" else {"ranks": ranks})
    with capture_events() as events, steady_state(**block) as steady:
        report = seeded(lambda: steady.measure(function, *args))
    called, calls = keeping(make())
    value = seeded(lambda: plain(warmed(iterations=1, ranks=ranks, name=name)(called)(*args)))
    RESULTS[title] = {
        "report": report.to_dict(),
        "events": list(events),
        "control": control,
        "made": made,
        "value": value,
        "calls": len(calls),
    }
    return report


def write_results():
    """Write down what there is to tell, and leave together."""
    Path(sys.argv[1], f"{RANK}.json").write_text(json.dumps(RESULTS))
    dist.barrier()
    dist.destroy_process_group()
