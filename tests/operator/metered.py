"""``python metered.py EMIT``: what Prometheus is shown of several processes, against what each knows; see the test."""

import os
import signal
import sys

import prometheus_client
import torch
from prometheus_client import multiprocess

from jitwarmup import warmed
from jitwarmup.events import set_emitters
from jitwarmup.integrations.prometheus import PrometheusMetrics

set_emitters(PrometheusMetrics())
of_the_application = prometheus_client.Counter("requests", "A counter of the application.")
of_the_application.inc()
compiled = torch.compile(lambda x: x.sin() + 1, backend="eager", dynamic=False)


@warmed(iterations=1, emit=sys.argv[1], on_loss=sys.argv[2])
def function(x):
    return compiled(x)


def shown():
    """Ready, and how many processes are in each state."""
    registry = prometheus_client.CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    states = {
        sample.labels["state"]: int(sample.value)
        for family in registry.collect()
        if family.name == "jitwarmup_state"
        for sample in family.samples
        if sample.value
    }
    return registry.get_sample_value("jitwarmup_ready", {"callable": "__main__.function"}), states


def check(step, ready, **states):
    assert shown() == (ready, states), (step, shown())
    print(step)


def worker(steps):
    """A forked worker that does one thing for each line that it gets, and answers."""
    there, here = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        of_the_application.inc()  # in a child, this sets everything to 0
        os.close(there[1])
        with os.fdopen(there[0]) as orders, os.fdopen(here[1], "w", buffering=1) as answers:
            for order in orders:
                eval(order, globals())  # noqa: S307 - a line of this file
                print("done", file=answers)
        os._exit(0)
    os.close(there[0])
    os.close(here[1])
    orders, answers = os.fdopen(there[1], "w", buffering=1), os.fdopen(here[0])

    def do(order):
        print(order, file=orders)
        assert answers.readline() == "done\n"

    return pid, do


three, four = torch.ones(3), torch.ones(4)
function.warm(three)
check("warm", 1.0, warm=1)
(first, do_first), (second, do_second) = worker(1), worker(2)
for do in (do_first, do_second):
    do("function(three)")
    do("function(three)")
check("forked", 1.0, warm=3)
do_first("function(four)")
check("recompiled", 1.0 if sys.argv[2] == "mark" else 0.0, warm=2, degraded=1)
if sys.argv[2] == "mark":
    do_first("[function(four) for _ in range(5)]")
else:
    do_first("function.warm(three)")
check("recovered", 1.0, warm=3)
do_second("function.reset()")
check("reset", 0.0, warm=2, cold=1)
os.kill(second, signal.SIGKILL)
os.waitpid(second, 0)
multiprocess.mark_process_dead(second)
check("died", 1.0, warm=2)
