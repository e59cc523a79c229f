"""
What staying in step costs: seconds of agreement per run, outside of its window; and that there is none inside.

    python tests/bench/ranks.py            2, 4 and 8 ranks on this machine (gloo over loopback)

The agreement is one all-gather of a 192-byte row a rank around a ring, so its cost is (p - 1) (a + 192 b) for p ranks,
with a the latency of a message and b the seconds a byte (Thakur, Rabenseifner and Gropp 2005, section 4.1).
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 200


def rank_main():
    import torch.distributed as dist

    from jitwarmup import RankGroup, steady_state
    from jitwarmup.distributed.group import GroupExchange
    from jitwarmup.host.scope import enclosing_run

    spent, inside = [], []
    block = GroupExchange.block

    def timed(exchange):
        inside.append(enclosing_run() is not None)
        began = time.perf_counter()
        exchanged = block(exchange)
        spent.append(time.perf_counter() - began)
        return exchanged

    GroupExchange.block = timed
    dist.init_process_group("gloo")

    def nothing():
        pass

    def median_s(**ranks):
        with steady_state(iterations=2, measurements=RUNS, **ranks) as steady:
            return steady.measure(nothing).latency_s

    together = median_s(ranks=RankGroup())
    alone = median_s(ranks=None)
    if dist.get_rank() == 0:
        runs = sorted(spent[1 : RUNS + 4])
        result = {"median_s": statistics.median(runs), "p90_s": runs[int(0.9 * len(runs))], "inside": sum(inside)}
        print(json.dumps({**result, "exchanges": len(spent), "together_s": together, "alone_s": alone}))
    dist.barrier()
    dist.destroy_process_group()


def job(world):
    root = Path(__file__).parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "JITWARMUP_LOG": "off", "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}", __file__]
    done = subprocess.run(
        [*command, "--rank"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
    )
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))


def main():
    print(
        f"agreement per run, {RUNS} runs of an empty function, {os.cpu_count()} cores (more ranks than cores share them)"
    )
    print("ranks  outside the window: median    p90   exchanges inside a window   empty run: in step / alone")
    for world in (2, 4, 8):
        result = job(world)
        times = f"{result['median_s'] * 1e3:26.2f} ms {result['p90_s'] * 1e3:6.2f} ms"
        runs = f"{result['together_s'] * 1e6:.2f} us / {result['alone_s'] * 1e6:.2f} us"
        print(f"{world:5}  {times}   {result['inside']:4} of {result['exchanges']:<4}              {runs}")


if __name__ == "__main__":
    rank_main() if "--rank" in sys.argv else main()
