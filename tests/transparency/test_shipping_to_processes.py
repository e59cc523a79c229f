"""What a script defines arrives in other processes: by cloudpickle, in a pool of loky, by spawn and forkserver."""

import json
import os
import pickle
import subprocess
import sys
import textwrap

import cloudpickle
import pytest

pytestmark = pytest.mark.usefixtures("events")

SHARED = textwrap.dedent("""
    import functools, json, multiprocessing, os, pickle, subprocess, sys
    from jitwarmup import warmed
    from jitwarmup.testing import capture_events

    @warmed(iterations=2)
    def made(x):
        return x + 1

    def _raw(x):
        return x + 1

    plus = warmed(iterations=2)(_raw)

    class Model:
        k = 3
        @warmed(iterations=2)
        def predict(self, x):
            return self.k * x
        def other(self, x):
            return self.k + x

    class Owner:
        def __init__(self):
            self.run = warmed(iterations=2)(self._run)
        def _run(self, x):
            return 3 * x
        def through(self, x):
            return self.run(x)

    def closure(n):
        @warmed(iterations=2)
        def inner(x):
            return x + n
        return inner

    def arrived(function, x):
        with capture_events() as events:
            before = str(function.state.value) if hasattr(function, "state") else None
            value = function(x)
        counts = [event["iterations"] for event in events if event["event"] == "jitwarmup.warmup.completed"]
        return value, before, counts

    WANTED = {
        "function": [2, "cold", [2]], "other name": [2, "cold", [2]], "method": [3, "cold", [2]],
        "other method": [4, None, []], "attribute": [3, "cold", [2]], "holder": [3, None, [2]],
        "partial": [2, None, [2]], "closure": [6, "cold", [2]], "lambda": [2, "cold", [2]],
    }

    def things(by_value):
        found = {
            "function": made, "other name": plus, "method": Model().predict, "other method": Model().other,
            "attribute": Owner().run, "holder": Owner().through, "partial": functools.partial(made),
        }
        if by_value:
            found |= {"closure": closure(5), "lambda": warmed(iterations=2)(lambda x: x + 1)}
        for one in (made, plus):
            one.warm(1)
        return found

    def check(found):
        for name, value in found.items():
            assert list(value) == WANTED[name], (name, value, WANTED[name])
        print("all", len(found), "are right")
""")

ARRIVED = """
import json, pickle, sys
found = {}
for name, held in pickle.load(sys.stdin.buffer).items():
    arrived, thing = pickle.loads(held)
    found[name] = arrived(thing, 1)
print(json.dumps(found))
"""
CLOUDPICKLE = f"""
import cloudpickle
if __name__ == "__main__":
    held = {{name: cloudpickle.dumps((arrived, thing)) for name, thing in things(True).items()}}
    done = subprocess.run([sys.executable, "-c", {ARRIVED!r}], input=pickle.dumps(held), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    check(json.loads(done.stdout))
"""

LOKY = """
import joblib
if __name__ == "__main__":
    found = things(True)
    values = joblib.Parallel(2)(joblib.delayed(arrived)(value, 1) for value in found.values())
    made_there = joblib.Parallel(2)(joblib.delayed(made)(n) for n in range(4))
    assert made_there == [1, 2, 3, 4]
    check(dict(zip(found, values)))
"""

MULTIPROCESSING = """
if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    found = things(False)
    with multiprocessing.Pool(1) as pool:
        assert pool.map(made, range(4)) == [1, 2, 3, 4]
        assert pool.map(Model().predict, range(4)) == [0, 3, 6, 9]
    values = {}
    for name, value in found.items():  # a process each: what travels by name is warm after the first
        with multiprocessing.Pool(1) as pool:
            values[name] = pool.apply(arrived, (value, 1))
    check(values)
"""


@pytest.fixture
def script(tmp_path):
    """Run a script as `__main__` in a folder of its own, and give what it printed."""

    def run(text, *words):
        path = tmp_path / "main.py"
        path.write_text(SHARED + text)
        environment = {**os.environ, "JITWARMUP_LOG": "off"}
        command = [sys.executable, str(path), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


def test_cloudpickle_ships_what_a_script_defines(script, guard):
    with guard(250):
        assert "all 9 are right" in script(CLOUDPICKLE)


def test_cloudpickle_ships_a_module_by_value_where_it_is_told_to(tmp_path, monkeypatch, guard):
    (tmp_path / "shipped_by_value.py").write_text(SHARED)
    monkeypatch.syspath_prepend(tmp_path)
    import shipped_by_value as module

    cloudpickle.register_pickle_by_value(module)
    try:
        things = module.things(by_value=True)
        held = pickle.dumps({name: cloudpickle.dumps((module.arrived, thing)) for name, thing in things.items()})
    finally:
        cloudpickle.unregister_pickle_by_value(module)
        del sys.modules["shipped_by_value"]
    command = [sys.executable, "-c", ARRIVED]
    with guard(250):
        done = subprocess.run(command, input=held, capture_output=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    assert json.loads(done.stdout) == module.WANTED


@pytest.mark.slow
def test_a_pool_of_loky_gets_what_a_script_defines(script, guard):
    with guard(250):
        assert "all 9 are right" in script(LOKY)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_of_multiprocessing_get_what_a_script_defines(script, guard, method):
    with guard(250):
        assert "all 7 are right" in script(MULTIPROCESSING, method)
