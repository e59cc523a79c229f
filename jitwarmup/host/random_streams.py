"""
Random streams: of the process, and of generators among a call's arguments.

Every run of a plan starts from the state of the call, so that extra runs leave no trace in sampled tokens. torch's and
numpy's streams are looked up, never imported. A torch stream that is born in the validation run (first import, first use
of a device) restarts from its initial seed: that is what one plain call would have met.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from jitwarmup.host.fork_safe import Locked

STREAMS = Locked()  # held while an identity is drawn from a stream that is not the process's own then


class Rewinder:
    """The states of some streams at one moment; ``rewind`` puts them back."""

    def __init__(self, argument_values: Iterable[Any], *, process_wide: bool) -> None:
        self.process_wide = process_wide
        kinds = generator_kinds()
        stateless = getattr(sys.modules.get("random"), "SystemRandom", ())  # draws from the system: nothing to rewind
        owners = [one for one in argument_values if isinstance(one, kinds) and not isinstance(one, stateless)]
        self._saved = [(owner, state_of(owner)) for owner in owners]
        self._known = process_streams() if process_wide else {}
        self._saved += [(owner, state_of(owner)) for owner in self._known.values()]

    def rewind(self) -> None:
        """Put every stream back; restart torch streams that were born since."""
        for owner, state in self._saved:
            put_back(owner, state)
        for name, owner in process_streams().items() if self.process_wide else ():
            if name not in self._known and hasattr(owner, "initial_seed"):  # others seed themselves from the system
                owner.manual_seed(owner.initial_seed())


def process_streams() -> dict[str, Any]:
    """
    What holds the streams of the whole process: generators, or modules, as far as their libraries are loaded.

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
    return {name: owner for name, owner in owners.items() if owner is not None}


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


def state_of(owner: Any) -> Any:
    """Of a generator of ``random``, torch or numpy, or of the modules ``random`` and ``numpy.random``."""
    if hasattr(owner, "getstate"):
        with STREAMS._lock:
            return owner.getstate()
    return owner.get_state() if hasattr(owner, "get_state") else owner.bit_generator.state


def put_back(owner: Any, state: Any) -> None:
    """Give it the state that ``state_of`` has read."""
    if hasattr(owner, "setstate"):
        with STREAMS._lock:
            owner.setstate(state)
    elif hasattr(owner, "set_state"):
        owner.set_state(state)
    else:
        owner.bit_generator.state = state
