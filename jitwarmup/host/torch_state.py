"""
What torch keeps per thread, carried into another one: a program compiled without it is another program.

Grad mode, inference mode, autocast (per device type: on or off, dtype; the cache flag), the default device, and the
current CUDA device and stream are thread-local, and Dynamo guards on most of them; ContextVars do not hold them. torch is
looked up, never imported. Further ``TorchFunctionMode``s of the user's are not carried.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

DEVICE_TYPES = ("cpu", "cuda", "xpu", "mps", "hpu", "xla", "mtia", "privateuseone")

Autocast = tuple[str, bool, Any]
"""A device type, whether autocast is on there, its dtype."""


@dataclass(frozen=True, slots=True)
class TorchState:
    """The thread-local state of one thread at one moment."""

    grad: bool
    inference: bool
    autocast: tuple[Autocast, ...]
    autocast_cache: bool
    default_device: Any  # of torch.set_default_device; None where it was not called
    devices: tuple[Any, ...]  # of `with torch.device(...)` around, outermost first
    cuda_device: int | None
    cuda_stream: Any


def capture() -> TorchState | None:
    """The state of this thread; None where torch is not loaded."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "is_inference_mode_enabled"):  # it may be half imported
        return None
    in_use = hasattr(torch, "cuda") and torch.cuda.is_initialized()
    default, devices = default_devices(torch)
    return TorchState(
        grad=torch.is_grad_enabled(),
        inference=torch.is_inference_mode_enabled(),
        autocast=tuple(autocasts(torch)),
        autocast_cache=torch.is_autocast_cache_enabled(),
        default_device=default,
        devices=devices,
        cuda_device=torch.cuda.current_device() if in_use else None,
        cuda_stream=torch.cuda.current_stream() if in_use else None,
    )


def autocasts(torch: Any) -> Iterator[Autocast]:
    """Autocast of each device type that this torch knows."""
    for name in DEVICE_TYPES:
        with suppress(RuntimeError, TypeError, ValueError):  # a type of a back end that is not there
            yield name, torch.is_autocast_enabled(name), torch.get_autocast_dtype(name)


def default_devices(torch: Any) -> tuple[Any, tuple[Any, ...]]:
    """What ``set_default_device`` set, and the devices of the ``with torch.device(...)`` blocks around."""
    kind: Any = getattr(sys.modules.get("torch.utils._device"), "DeviceContext", ())
    held, modes = None, []
    with suppress(AttributeError):  # not as known
        held = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
        modes = torch.overrides._get_current_function_mode_stack()
    return getattr(held, "device", None), tuple(m.device for m in modes if isinstance(m, kind) and m is not held)


@contextmanager
def carried(state: TorchState | None) -> Iterator[None]:
    """Inside the block this thread has that state; its own is back afterwards (worker threads are used again)."""
    torch: Any = sys.modules.get("torch")
    if state is None or torch is None:
        yield
        return
    with ExitStack() as stack:
        if state.inference != torch.is_inference_mode_enabled():  # first, since it sets the grad mode too
            stack.enter_context(torch.inference_mode(state.inference))
        stack.enter_context(torch.set_grad_enabled(state.grad))
        # By the setters that torch.autocast itself uses, since it would warn and import.
        stack.callback(set_autocast, torch, tuple(autocasts(torch)), cache=torch.is_autocast_cache_enabled())
        set_autocast(torch, state.autocast, cache=state.autocast_cache)
        torch.autocast_increment_nesting()
        stack.callback(lambda: torch.autocast_decrement_nesting() or torch.clear_autocast_cache())
        own, _ = default_devices(torch)
        if own != state.default_device:  # a mode of its own: Dynamo tells it from `with torch.device(...)`
            stack.callback(torch.set_default_device, own)
            torch.set_default_device(state.default_device)
        for device in state.devices:
            stack.enter_context(torch.device(device))
        if state.cuda_device is not None:
            stack.enter_context(torch.cuda.device(state.cuda_device))
            stack.enter_context(torch.cuda.stream(state.cuda_stream))
        yield


def set_autocast(torch: Any, wanted: tuple[Autocast, ...], *, cache: bool) -> None:
    """Write the flags of each device type."""
    for device_type, enabled, dtype in wanted:
        torch.set_autocast_enabled(device_type, enabled)
        torch.set_autocast_dtype(device_type, dtype)
    torch.set_autocast_cache_enabled(cache)
