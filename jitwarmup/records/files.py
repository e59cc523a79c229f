"""
Files that a user names, in and out: whatever is wrong with one is a single ``ArgumentError`` that names it.

What is written is there whole or not at all: a file is replaced by a finished one, a line is added or taken back.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jitwarmup.records.errors import ArgumentError

MOST_BYTES = 256 * 2**20  # of a file that is read
OPEN_ALREADY = ("/dev/", "/proc/")  # a pipe of the shell's: somebody is at its other end
LONGEST_NAME = 80
READABLE = "a file of text in UTF-8 that can be read"
WRITABLE = "a file in a folder that exists, with room for it"

Name = str | os.PathLike[str]


@contextmanager
def refusing(doing: str, path: Name, wanted: str) -> Iterator[None]:
    """Turn what the system or an encoding has against a file into an ArgumentError that names it."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: bytes that are no UTF-8, a NUL in the name
        why = getattr(error, "strerror", None) or error
        raise ArgumentError(f"cannot {doing} {path}: {why}; wanted {wanted}") from error


def read_text(path: Name, *, errors: str = "strict") -> str:
    """
    A file's text; never waits for a pipe that nobody writes to.

    Raises:
        ArgumentError: it is missing, no file, too large, or (unless ``errors`` says otherwise) no UTF-8.

    """
    with refusing("read", path, READABLE), open(path, "rb", opener=_without_waiting) as file:
        kind = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(kind) and not (stat.S_ISFIFO(kind) and str(path).startswith(OPEN_ALREADY)):
            raise OSError("it is a pipe or a device")
        os.set_blocking(file.fileno(), True)
        data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise OSError(f"it has more than {MOST_BYTES:,} bytes")
        return data.decode("utf-8-sig", errors)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def parse_json(text: str) -> Any:
    """What JSON holds; raises ValueError and nothing else, however deep or large it is, and where a byte was no UTF-8."""
    if not text.isascii():
        text.encode()
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def make_folder(path: Name) -> None:
    """Make a folder and those around it, where they are missing; raises ArgumentError where that cannot be."""
    with refusing("make the folder", path, "a folder that can be written to"):
        Path(path).mkdir(parents=True, exist_ok=True)


def save_text(path: Name, text: str) -> None:
    """
    Write a file: a temporary one beside it, flushed to the disk, that takes its place; a link stays a link.

    Raises:
        ArgumentError: it cannot be written; what was there before is as it was.

    """
    data, place = text.encode(errors="backslashreplace"), Path(os.path.realpath(path))
    with refusing("write", path, WRITABLE):
        if str(path).startswith(OPEN_ALREADY) or (place.exists() and not place.is_file()):  # nothing there can be lost
            with open(path, "wb", opener=_without_waiting) as out:
                os.set_blocking(out.fileno(), True)
                out.write(data)
            return
        beside = place.with_name(f".jitwarmup-{os.urandom(8).hex()}")
        try:
            with beside.open("xb") as file:
                if place.exists():
                    beside.chmod(stat.S_IMODE(place.stat().st_mode))
                file.write(data)
                file.flush()
                os.fsync(file)
            beside.replace(place)
        finally:
            beside.unlink(missing_ok=True)


def append_text(path: Name, text: str) -> None:
    """
    Add whole lines at a file's end, after a line that somebody left unfinished as well.

    Raises:
        ArgumentError: they cannot be written; the file is as it was, unless others wrote meanwhile.

    """
    data = text.encode(errors="backslashreplace")
    with refusing("write", path, WRITABLE), Path(path).open("ab+", buffering=0) as file:
        lasting = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        start = os.fstat(file.fileno()).st_size if lasting else 0
        if start and os.pread(file.fileno(), 1, start - 1) != b"\n":
            data = b"\n" + data if data else data
        left = memoryview(data)
        try:
            while left:
                left = left[file.write(left) :]
            if lasting:
                os.fsync(file)
        except OSError:
            with suppress(OSError):
                if lasting and os.fstat(file.fileno()).st_size == start + len(data) - len(left):
                    os.ftruncate(file.fileno(), start)
            raise


def file_name(text: str) -> str:
    """
    A text as a name within a folder, 100 characters at most; it never leads out of the folder.

    ``org/model`` reads ``org_model``; where more than slashes had to go, a digest keeps different texts apart.
    """
    kept = re.sub(r"[^\w.-]", "_", text, flags=re.ASCII).lstrip(".")[:LONGEST_NAME]
    digest = hashlib.blake2s(text.encode(errors="surrogatepass"), digest_size=4).hexdigest()
    return kept if kept and kept == text.replace("/", "_") else f"{kept}-{digest}"
