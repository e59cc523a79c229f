"""
Random streams: of the process, and of generators among a call's arguments.

Every run of a plan starts from the state of the call, so that extra runs leave no trace in sampled tokens. torch's and
numpy's streams are looked up, never imported. A torch stream that is born in the validation run (first import, first use
of a device) restarts from its initial seed: that is what one plain call would have met.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Stream:
    """One random stream: how to read and write its state, and how to restart it as if it had just been born."""

    read: Callable[[], Any]
    write: Callable[[Any], None]
    restart: Callable[[], None] | None = None


class Rewinder:
    """The states of some streams at one moment; ``rewind`` puts them back."""

    def __init__(self, argument_values: Iterable[Any], *, process_wide: bool) -> None:
        self.process_wide = process_wide
        found = dict(argument_streams(argument_values))
        if process_wide:
            found |= process_streams()
        self._saved = {name: (stream, stream.read()) for name, stream in found.items()}

    def rewind(self) -> None:
        """Put every stream back; restart torch streams that were born since."""
        for stream, state in self._saved.values():
            stream.write(state)
        if not self.process_wide:
            return
        for name, stream in process_streams().items():
            if name not in self._saved and stream.restart is not None:
                stream.restart()


def process_streams() -> dict[str, Stream]:
    """The streams that belong to the whole process, as far as their libraries are loaded."""
    streams: dict[str, Stream] = {}
    python = sys.modules.get("random")
    if python is not None:
        streams["random"] = Stream(python.getstate, python.setstate)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None and hasattr(numpy_random, "set_state"):
        streams["numpy"] = Stream(numpy_random.get_state, numpy_random.set_state)
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "default_generator"):
        streams["torch.cpu"] = torch_stream(torch.default_generator)
        streams |= device_streams(torch)
    return streams


def device_streams(torch: Any) -> dict[str, Stream]:
    """The default generators of initialised devices; reading one's state touches no device and creates no context."""
    streams: dict[str, Stream] = {}
    for backend in ("cuda", "xpu"):
        module = getattr(torch, backend, None)
        if module is None or not module.is_initialized():
            continue
        for index, generator in enumerate(module.default_generators):
            streams[f"torch.{backend}:{index}"] = torch_stream(generator)
    return streams


def torch_stream(generator: Any) -> Stream:
    """A ``torch.Generator`` as a stream."""

    def restart() -> None:
        generator.manual_seed(generator.initial_seed())

    return Stream(generator.get_state, generator.set_state, restart)


def argument_streams(values: Iterable[Any]) -> Iterable[tuple[str, Stream]]:
    """Generators of torch, numpy and ``random`` among a call's argument values."""
    kinds = generator_kinds()
    stateless = getattr(sys.modules.get("random"), "SystemRandom", ())  # draws from the system: nothing to rewind
    for value in values:
        if isinstance(value, stateless):
            continue
        for kind, as_stream in kinds.items():
            if isinstance(value, kind):
                yield f"argument:{id(value)}", as_stream(value)


def generator_kinds() -> Mapping[type[Any], Callable[[Any], Stream]]:
    """Generator classes of the libraries that are loaded, and how to treat each."""
    kinds: dict[type[Any], Callable[[Any], Stream]] = {}
    if (python := sys.modules.get("random")) is not None:
        kinds[python.Random] = lambda value: Stream(value.getstate, value.setstate)
    if (torch := sys.modules.get("torch")) is not None and hasattr(torch, "Generator"):
        kinds[torch.Generator] = torch_stream
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None and hasattr(numpy_random, "Generator"):
        kinds[numpy_random.Generator] = numpy_stream
        kinds[numpy_random.RandomState] = lambda value: Stream(value.get_state, value.set_state)
    return kinds


def numpy_stream(generator: Any) -> Stream:
    """A ``numpy.random.Generator`` as a stream: its state lives in its bit generator."""

    def write(state: Any) -> None:
        generator.bit_generator.state = state

    return Stream(lambda: generator.bit_generator.state, write)
