"""
Random streams are put back to where the call found them.

Devices are played by a fake torch with generators of the real kind: no GPU is at hand.
"""

import random
import sys
from types import SimpleNamespace

import pytest

from jitwarmup.host import random_streams
from jitwarmup.host.random_streams import Rewinder

numpy = pytest.importorskip("numpy")
pytest.importorskip("numpy.random")  # loaded lazily since numpy 2
torch = pytest.importorskip("torch")


def draw_all():
    return random.random(), float(numpy.random.rand()), float(torch.rand(()))


def draw(generator):
    if isinstance(generator, torch.Generator):
        return float(torch.rand((), generator=generator))
    return float(generator.random() if hasattr(generator, "random") else generator.rand())


def test_the_streams_of_the_process_are_rewound_to_where_they_were_and_not_to_their_seeds():
    draw_all()
    rewinder = Rewinder((), process_wide=True)
    first = draw_all()
    assert draw_all() != first
    rewinder.rewind()
    assert draw_all() == first


def test_a_rewinder_may_rewind_again_and_again():
    rewinder = Rewinder((), process_wide=True)
    drawn = set()
    for _ in range(3):
        rewinder.rewind()
        drawn.add(draw_all())
    assert len(drawn) == 1


MAKERS = [
    lambda: random.Random(3),
    lambda: torch.Generator().manual_seed(3),
    lambda: numpy.random.default_rng(3),
    lambda: numpy.random.RandomState(3),
]


@pytest.mark.parametrize("make", MAKERS, ids=["random", "torch", "numpy", "numpy's old one"])
@pytest.mark.parametrize("process_wide", [True, False])
def test_a_generator_among_the_arguments_is_rewound_everywhere(make, process_wide):
    generator = make()
    draw(generator)
    rewinder = Rewinder(["prompt", generator], process_wide=process_wide)
    first = draw(generator)
    draw(generator)
    rewinder.rewind()
    assert draw(generator) == first


def test_streams_that_belong_to_everybody_are_left_alone_where_that_is_asked_for():
    rewinder = Rewinder((), process_wide=False)
    before = draw_all()
    rewinder.rewind()
    assert all(one != two for one, two in zip(draw_all(), before, strict=True))


def test_a_python_without_numpy_and_torch_has_one_stream(monkeypatch):
    for name in ("numpy.random", "torch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert list(random_streams.process_streams()) == ["random"]
    assert random_streams.generator_kinds() == (random.Random,)


def test_a_python_without_random_has_none(monkeypatch):
    for name in ("random", "numpy.random", "torch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert random_streams.process_streams() == {}
    assert random_streams.generator_kinds() == ()
    Rewinder([3], process_wide=True).rewind()


def test_half_imported_libraries_are_left_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy.random", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())
    assert list(random_streams.process_streams()) == ["random"]
    assert random_streams.generator_kinds() == (random.Random,)


def device(*generators, initialized=True):
    return SimpleNamespace(is_initialized=lambda: initialized, default_generators=generators)


def fake_torch(monkeypatch, **devices):
    fake = SimpleNamespace(default_generator=torch.Generator(), Generator=torch.Generator, **devices)
    monkeypatch.setitem(sys.modules, "torch", fake)
    return fake


def test_the_streams_of_initialised_devices_are_among_them(monkeypatch):
    fake_torch(monkeypatch, cuda=device(torch.Generator(), torch.Generator()), xpu=device(initialized=False))
    assert {name for name in random_streams.process_streams() if name.startswith("torch")} == {
        "torch.cpu",
        "torch.cuda:0",
        "torch.cuda:1",
    }


def test_a_devices_stream_is_rewound(monkeypatch):
    generator = torch.Generator().manual_seed(5)
    fake_torch(monkeypatch, cuda=device(generator))
    rewinder = Rewinder((), process_wide=True)
    first = draw(generator)
    rewinder.rewind()
    assert draw(generator) == first


def test_a_stream_that_was_born_since_restarts_from_its_initial_seed(monkeypatch):
    """What one plain call would have met: a generator as it is right after its seeding."""
    fake = fake_torch(monkeypatch)
    rewinder = Rewinder((), process_wide=True)
    generator = torch.Generator().manual_seed(11)
    born = draw(generator)
    draw(generator)
    fake.cuda = device(generator)
    rewinder.rewind()
    assert generator.initial_seed() == 11
    assert draw(generator) == born


def test_a_stream_of_another_library_that_was_born_since_is_left_as_it_is(monkeypatch):
    """numpy seeds itself from the system at import: there is nothing to restart it from."""
    kept = sys.modules["numpy.random"]
    monkeypatch.delitem(sys.modules, "numpy.random")
    rewinder = Rewinder((), process_wide=True)
    monkeypatch.setitem(sys.modules, "numpy.random", kept)
    before = kept.get_state()[1].tolist(), kept.get_state()[2]
    rewinder.rewind()
    assert (kept.get_state()[1].tolist(), kept.get_state()[2]) == before


def test_twins_among_the_arguments_are_streams_of_their_own():
    one, two = random.Random(1), random.Random(1)
    rewinder = Rewinder([one, two, one], process_wide=False)
    one.random()
    rewinder.rewind()
    assert one.random() == two.random()
