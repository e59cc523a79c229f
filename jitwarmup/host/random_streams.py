"""
Random streams: of the process, and of generators among a call's arguments.

Every run of a plan starts from the state of the call, so that extra runs leave no trace in sampled tokens. torch's and
numpy's streams are looked up, never imported. A torch stream that is born in the validation run (first import, first use
of a device) restarts from its initial seed: that is what one plain call would have met.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
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
        kinds = generator_kinds()
        stateless = getattr(sys.modules.get("random"), "SystemRandom", ())  # draws from the system: nothing to rewind
        generators = [one for one in argument_values if isinstance(one, kinds) and not isinstance(one, stateless)]
        found = {f"argument:{id(generator)}": stream_of(generator) for generator in generators}
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
    """
    The streams that belong to the whole process, as far as their libraries are loaded.

    Of devices the initialised ones; reading their generators' states touches no device and creates no context.
    """
    numpy_random, torch = sys.modules.get("numpy.random"), sys.modules.get("torch")
    owners = {
        "random": sys.modules.get("random"),
        "numpy": numpy_random if hasattr(numpy_random, "set_state") else None,
        "torch.cpu": getattr(torch, "default_generator", None),
    }
    for backend in ("cuda", "xpu") if owners["torch.cpu"] is not None else ():
        module = getattr(torch, backend, None)
        if module is not None and module.is_initialized():
            owners |= {f"torch.{backend}:{index}": one for index, one in enumerate(module.default_generators)}
    return {name: stream_of(owner) for name, owner in owners.items() if owner is not None}


def generator_kinds() -> tuple[type[Any], ...]:
    """Generator classes of the libraries that are loaded."""
    places = (
        ("random", "Random"),
        ("torch", "Generator"),
        ("numpy.random", "Generator"),
        ("numpy.random", "RandomState"),
    )
    kinds = (getattr(sys.modules.get(module), name, None) for module, name in places)
    return tuple(kind for kind in kinds if kind is not None)


def stream_of(owner: Any) -> Stream:
    """A generator, or the module that holds one (``random``, ``numpy.random``), as a stream."""
    if hasattr(owner, "getstate"):  # of the standard library
        return Stream(owner.getstate, owner.setstate)
    if hasattr(owner, "initial_seed"):  # torch's
        return Stream(owner.get_state, owner.set_state, lambda: owner.manual_seed(owner.initial_seed()))
    if hasattr(owner, "get_state"):  # numpy's older ones
        return Stream(owner.get_state, owner.set_state)
    # numpy's state lives in the bit generator
    return Stream(lambda: owner.bit_generator.state, lambda state: setattr(owner.bit_generator, "state", state))
