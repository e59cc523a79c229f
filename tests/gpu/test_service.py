"""The service's verbs."""

import pynvml

from jitwarmup.gpu.devices import Wanted
from jitwarmup.gpu.service import Service


def served(nvmlsim):
    service = Service(nvmlsim.clocks(), 1.0, 1)
    return service, service.do("open", {"wanted": Wanted(None)})


def test_verbs_before_open_and_after_close_find_nothing(nvmlsim):
    service = Service(nvmlsim.clocks(), 1.0, 1)
    assert "not initialised" in service.do("find", {"wanted": Wanted(None)})["unavailable"]
    service.do("close", {})
    (reading,) = service.do("end", {"key": 9, "pids": False, "listed": False})["readings"]
    assert reading.status == "unavailable"
    assert nvmlsim.count() == 0


def test_a_service_that_was_silenced_asks_nothing(nvmlsim):
    service, _ = served(nvmlsim)
    before = nvmlsim.count()
    service.silence()
    for verb in ("mark", "close"):
        service.do(verb, {})
    assert nvmlsim.count() == before
    pynvml.nvmlShutdown()
