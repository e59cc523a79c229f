"""
What torch keeps per thread, carried into another one: a program compiled without it is another program.

Grad mode, inference mode, autocast (per device type: on or off, dtype; the cache flag), the default device, and the
current CUDA device and stream are thread-local, and Dynamo guards on most of them; ContextVars do not hold them. torch is
looked up, never imported. Further ``TorchFunctionMode``s of the user's are not carried.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

DEVICE_TYPES = ("cpu", "cuda", "xpu", "mps", "hpu", "xla", "mtia", "privateuseone")


@dataclass(frozen=True, slots=True)
class Autocast:
    """Autocast of one device type."""

    device_type: str
    enabled: bool
    dtype: Any


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
        try:
            yield Autocast(name, torch.is_autocast_enabled(name), torch.get_autocast_dtype(name))
        except (RuntimeError, TypeError, ValueError):  # a type of a back end that is not there
            continue


def default_devices(torch: Any) -> tuple[Any, tuple[Any, ...]]:
    """What ``set_default_device`` set, and the devices of the ``with torch.device(...)`` blocks around."""
    held = getattr(getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None), "device_context", None)
    kind: Any = getattr(sys.modules.get("torch.utils._device"), "DeviceContext", None)
    stack = getattr(sys.modules.get("torch.overrides"), "_get_current_function_mode_stack", None)
    modes = stack() if stack is not None and kind is not None else ()
    around = tuple(mode.device for mode in modes if isinstance(mode, kind) and mode is not held)
    return getattr(held, "device", None), around


@contextmanager
def carried(state: TorchState | None) -> Iterator[None]:
    """Inside the block this thread has that state; its own is back afterwards (worker threads are used again)."""
    torch: Any = sys.modules.get("torch")
    if state is None or torch is None:
        yield
        return
    with ExitStack() as stack:
        for part in parts(torch, state):
            stack.enter_context(part)
        yield


def parts(torch: Any, state: TorchState) -> Iterator[AbstractContextManager[Any]]:
    """A context manager for each part of the state; inference mode first, since it sets the grad mode too."""
    if state.inference != torch.is_inference_mode_enabled():
        yield torch.inference_mode(state.inference)
    yield torch.set_grad_enabled(state.grad)
    yield autocast_like(torch, state.autocast, cache=state.autocast_cache)
    yield default_device_like(torch, state.default_device)
    yield from map(torch.device, state.devices)
    if state.cuda_device is not None:
        yield torch.cuda.device(state.cuda_device)
        yield torch.cuda.stream(state.cuda_stream)


@contextmanager
def autocast_like(torch: Any, wanted: tuple[Autocast, ...], *, cache: bool) -> Iterator[None]:
    """Autocast as it was found elsewhere, by the setters that ``torch.autocast`` itself uses; it would warn and import."""
    own, own_cache = tuple(autocasts(torch)), torch.is_autocast_cache_enabled()
    set_autocast(torch, wanted, cache=cache)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        set_autocast(torch, own, cache=own_cache)


def set_autocast(torch: Any, wanted: tuple[Autocast, ...], *, cache: bool) -> None:
    """Write the flags of each device type."""
    for one in wanted:
        torch.set_autocast_enabled(one.device_type, one.enabled)
        torch.set_autocast_dtype(one.device_type, one.dtype)
    torch.set_autocast_cache_enabled(cache)


@contextmanager
def default_device_like(torch: Any, wanted: Any) -> Iterator[None]:
    """``torch.set_default_device``, which is a mode of its own: Dynamo tells it from ``with torch.device(...)``."""
    own, _ = default_devices(torch)
    if own == wanted:
        yield
        return
    torch.set_default_device(wanted)
    try:
        yield
    finally:
        torch.set_default_device(own)
