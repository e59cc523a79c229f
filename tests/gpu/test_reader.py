"""The reader by itself: before it is opened, after it is closed, and once it was silenced."""

import pynvml
import pytest

from jitwarmup.gpu.binding import Unavailable
from jitwarmup.gpu.devices import Wanted
from jitwarmup.gpu.reader import Reader


def test_before_open_and_after_close_there_is_nothing_to_find(nvmlsim):
    reader = Reader(nvmlsim.clocks(), 1.0, 1)
    with pytest.raises(Unavailable, match="not initialised"):
        reader.find(Wanted(None))
    reader.close()
    (reading,) = reader.end(reader, pids=False, listed=False)
    assert reading.status == "unavailable"
    assert nvmlsim.count() == 0


def test_a_reader_that_was_silenced_asks_nothing(nvmlsim):
    reader = Reader(nvmlsim.clocks(), 1.0, 1)
    assert [device.uuid for device in reader.open(Wanted(None))] == [nvmlsim.uuid()]
    before = nvmlsim.count()
    reader.silent = True
    reader.mark()
    reader.close()
    assert nvmlsim.count() == before
    pynvml.nvmlShutdown()
