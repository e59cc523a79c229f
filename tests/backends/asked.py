"""
A service's events of a few calls, and on stdout what the process itself knows of them.

    python asked.py FILE            its events in a file
    python asked.py FILE PORT       its metrics too: for Prometheus it waits for a line when it is warm, and one at the end
"""

import contextlib
import json
import sys

import torch

from jitwarmup import GPUMonitor, by_shape, steady_state, warmed
from jitwarmup.events import JsonLines, set_emitters

file = JsonLines(sys.argv[1])
emitters = [file]
if port := sys.argv[2:]:
    import prometheus_client

    from jitwarmup.integrations.prometheus import PrometheusMetrics

    emitters.append(PrometheusMetrics())
    prometheus_client.start_http_server(int(port[0]), "127.0.0.1")
set_emitters(*emitters)
compiled = torch.compile(lambda x: x.sin() + 1, backend="eager", dynamic=False)


@warmed(iterations=2)
def served(x):
    return compiled(x)


@warmed(iterations=1)
def recovered(x):
    return compiled(x)


@warmed(iterations=0, key=by_shape)
def cold(x):
    return x + 1


@warmed(iterations=1, emit="summary")
def summed(x):
    return x + 1


@warmed(iterations=1, emit="summary", key=by_shape)
def summed_cold(x):
    return x


@warmed(iterations=1)
def fails():
    raise ValueError


def ones(*sizes):
    return [torch.ones(size) for size in sizes]


warmups = {}
for function in (served, recovered, cold, summed, summed_cold):
    warmups[function] = function.warm(*ones(3))
if port:
    sys.stdin.readline()
graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
for function, sizes in {
    recovered: (3, 4, 4, 4, 4),
    served: (3, 5, 5, 6),
    cold: (3, 4, 5, 4, 5),
    summed: (3, 3, 4),
    summed_cold: (3, 4),
}.items():
    for x in ones(*sizes):
        function(x)
warmups[cold] = cold.warm(*ones(5))
cold(*ones(5))
with contextlib.suppress(ValueError):
    fails()
with contextlib.suppress(TypeError):
    summed(None)
for function in (summed, summed_cold):
    function.flush()
monitor = GPUMonitor()
with steady_state(monitor=monitor):
    pass
file.close()

functions = {f"__main__.{f.__name__}": f for f in (served, recovered, cold, summed, summed_cold, fails)}
states = {name: function.status() for name, function in functions.items()}
warm = {(name, entry["key"]) for name, state in states.items() for entry in state["keys"] if entry["state"] != "cold"}
coverages = {name: function.coverage() for name, function in functions.items()}
misses = [(name, missed.key) for name, coverage in coverages.items() for missed in coverage.missed]
known = {
    "cold": sorted({*misses} - warm),
    "not_ready": sorted(name for name, state in states.items() if not state["ready"]),
    "ledgers": {
        f"__main__.{function.__name__}": {f"ledger_{kind.replace('.', '_')}_s": s for kind, s in report.ledger.items()}
        for function, report in warmups.items()
    },
    "recompiled": torch._dynamo.utils.counters["stats"]["unique_graphs"] - graphs,
    "traffic": {name: [coverage.calls, coverage.hits] for name, coverage in coverages.items()},
    "degraded": [[name, state["last_reason"]] for name, state in states.items() if state["state"] == "degraded"],
    "failed": [name for name, state in states.items() if "failed" in (state["last_reason"] or "")],
    "unread": monitor.degraded,
}
print(json.dumps(known), flush=True)
if port:
    sys.stdin.readline()
