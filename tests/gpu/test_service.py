"""The service's verbs with plain answers, as the sampler's process gives them."""

import json

import pynvml

from jitwarmup.gpu.devices import Wanted
from jitwarmup.gpu.service import Service


def served(nvmlsim):
    service = Service(nvmlsim.clocks(), 1.0, 1)
    return service, service.do("open", {"wanted": Wanted(None).plain()})


def test_every_answer_is_json(nvmlsim):
    service, opened = served(nvmlsim)
    assert opened == {"devices": [[nvmlsim.uuid(), "NVIDIA H100 80GB SIM", None]]}
    answers = [service.do("begin", {"key": 1, "pids": True})]
    nvmlsim.advance(0.5)
    answers.append(service.do("sample", {}))
    answers.append(service.do("end", {"key": 1, "pids": True, "listed": False}))
    answers.extend(service.do(verb, {}) for verb in ("mark", "close"))
    assert json.loads(json.dumps(answers))[2]["readings"][0]["status"] == "ok"
    assert nvmlsim.initialised == 0


def test_a_shutdown_by_somebody_else_between_samples_is_mended(nvmlsim):
    service, _ = served(nvmlsim)
    service.do("begin", {"key": 1, "pids": False})
    pynvml.nvmlShutdown()
    assert "initialised again" in service.do("sample", {})["notes"][0][1]
    nvmlsim.advance(0.5)
    service.do("sample", {})
    (reading,) = service.do("end", {"key": 1, "pids": False, "listed": False})["readings"]
    assert (reading["status"], reading["samples"]) == ("ok", 1)
    service.do("close", {})


def test_verbs_before_open_and_after_close_find_nothing(nvmlsim):
    service = Service(nvmlsim.clocks(), 1.0, 1)
    assert "not initialised" in service.do("find", {"wanted": Wanted(None).plain()})["unavailable"]
    service.do("close", {})
    (reading,) = service.do("end", {"key": 9, "pids": False, "listed": False})["readings"]
    assert reading["status"] == "unavailable"
    assert nvmlsim.count() == 0


def test_a_service_that_was_silenced_asks_nothing(nvmlsim):
    service, _ = served(nvmlsim)
    before = nvmlsim.count()
    service.silence()
    for verb in ("mark", "sample", "close"):
        service.do(verb, {})
    assert nvmlsim.count() == before
    pynvml.nvmlShutdown()
