"""
What tensors, arrays and buffers hold, in a few numbers: their version where they keep one, else a checksum.

A checksum reads all of it up to a bound, and a sample of what is larger; on the device where the data is.
"""

from __future__ import annotations

import ctypes
import sys
import zlib
from typing import Any

from jitwarmup.host.arguments.loaded import loaded_class

SAMPLE = 4_096  # bytes of larger data that are looked at
WHOLE = 64 * 2**20  # bytes up to which all of it is read where a change leaves no version
SMALL = 2**23  # and where it leaves one, unless it is made behind its back
CELLS = 2**22  # of a frame that are turned into an array

Sum = tuple[Any, ...]


def of_bytes(held: memoryview, whole: int = WHOLE) -> int:
    """A checksum of bytes; of more than ``whole``, that of a sample."""
    if held.nbytes <= whole:
        return zlib.crc32(held)
    return zlib.crc32(bytes(held[:: held.nbytes // SAMPLE]))


def is_buffer(value: Any) -> bool:
    """Whether a value gives its memory to be read."""
    try:
        memoryview(value).release()
    except (TypeError, ValueError, BufferError):
        return False
    return True


def of_buffer(value: Any) -> Sum | None:
    """Length and checksum of anything that gives its memory to be read."""
    try:
        with memoryview(value) as view:
            if view.c_contiguous and len(view.format) == 1:
                with view.cast("B") as held:
                    return held.nbytes, of_bytes(held)
            return view.nbytes, of_bytes(memoryview(view.tobytes()))
    except (TypeError, ValueError, BufferError, NotImplementedError):  # released, or exported by nobody any more
        return None


def memory_of(value: Any) -> set[int]:
    """The identities of the objects whose memory an array shows: numpy's ``base``, and what that shows."""
    found: set[int] = set()
    while (value := getattr(value, "base", None)) is not None and id(value) not in found:
        found.add(id(value))
    return found


def of_array(value: Any) -> Sum:
    """Shape, strides, type and checksum of a numpy array without objects."""
    numpy = sys.modules["numpy"]
    flat = value if value.nbytes <= WHOLE else value.reshape(-1)[:: max(1, value.size // SAMPLE)]
    held = numpy.ascontiguousarray(flat).reshape(-1).view(numpy.uint8)
    return value.shape, value.dtype, of_bytes(memoryview(held))


def as_arrays(value: Any) -> list[Any] | None:
    """What a frame, a series or an image holds, and its labels; None where numpy is not loaded or cannot read it."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    try:
        cells = getattr(value, "size", 0)
        large = isinstance(cells, int) and cells > CELLS
        held = [numpy.asarray(value[:: 1 + len(value) // SAMPLE] if large else value)]
        for labels in ("columns", "index"):
            found = getattr(value, labels, None)
            if found is not None and not callable(found):
                held.append(numpy.asarray(found if not large else found[::SAMPLE]))
    except Exception:  # noqa: BLE001 - whatever a library answers: it cannot be read this way
        return None
    return held


def version_of(tensor: Any) -> int | None:
    """A tensor's version counter; None where it keeps none (inference tensors)."""
    try:
        return None if tensor.is_inference() else int(tensor._version)
    except (RuntimeError, AttributeError):
        return None


def of_tensor(tensor: Any) -> Sum:
    """
    A tensor's version, shape and checksum: writes through ``.data`` and ``.numpy()``, and collectives, leave the version.

    Waits for the device, asks no rank: of a DTensor the local part.
    """
    version = version_of(tensor)
    return version, *checksum(getattr(tensor, "_local_tensor", tensor), WHOLE if version is None else SMALL)


def checksum(tensor: Any, whole: int) -> Sum:
    """Its shape, the sum of its bytes (up to a bound), and a checksum of a sample; empty where it cannot be read."""
    torch = sys.modules.get("torch")
    if torch is None or type(tensor) not in (loaded_class("torch", "Tensor"), loaded_class("torch.nn", "Parameter")):
        return ()  # what another subclass does when it is summed up is not for us to try
    try:
        with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunction():  # a user's modes hear nothing of it
            if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_quantized:
                return ()  # its memory is not that of its elements, one by one
            if not tensor.data_ptr():  # it has no memory: on the meta device, or empty
                return (tuple(tensor.shape),)
            if tensor.device.type == "cpu":
                return tuple(tensor.shape), of_memory(tensor.detach().contiguous(), whole)
            held = tensor.detach().reshape(-1).view(torch.uint8)
            sample = held[:: 1 + len(held) // SAMPLE].cpu()
            total = int(held.sum(dtype=torch.int64)) if len(held) <= whole else 0
            return tuple(tensor.shape), total, bytes(sample.tolist())
    except (RuntimeError, NotImplementedError, TypeError):  # under a transform, on a device without this
        return ()


def of_memory(tensor: Any, whole: int) -> int:
    """A checksum of a contiguous tensor in memory; its storage does not learn of it, as one shared with numpy does."""
    size = tensor.numel() * tensor.element_size()
    return of_bytes(memoryview((ctypes.c_ubyte * size).from_address(tensor.data_ptr())).cast("B"), whole)
