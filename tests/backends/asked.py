"""``python asked.py FILE``: a service's events of a few calls, and on stdout what the process itself knows of them."""

import contextlib
import json
import sys

import torch

from jitwarmup import GPUMonitor, by_shape, steady_state, warmed
from jitwarmup.events import JsonLines, set_emitters

file = JsonLines(sys.argv[1])
set_emitters(file)
compiled = torch.compile(lambda x: x.sin() + 1, backend="eager", dynamic=False)


@warmed(iterations=2)
def served(x):
    return compiled(x)


@warmed(iterations=0, key=by_shape)
def cold(x):
    return x + 1


@warmed(iterations=1)
def fails():
    raise ValueError


warmup = served.warm(torch.ones(3))
for size in (3, 4, 4, 5):
    served(torch.ones(size))
cold.warm(torch.ones(3))
cold(torch.ones(4))
cold(torch.ones(4))
with contextlib.suppress(ValueError):
    fails()
with steady_state(monitor=GPUMonitor()):
    pass
file.close()
json.dump(
    {
        "missed": [[f"{cold.__module__}.cold", missed.key] for missed in cold.coverage().missed],
        "ledger": {f"ledger_{cause.replace('.', '_')}_s": seconds for cause, seconds in warmup.ledger.items()},
        "recompiled": 2,
        "calls": served.coverage().calls,
    },
    sys.stdout,
)
