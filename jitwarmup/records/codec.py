"""
Frozen dataclasses to plain JSON types and back, exactly.

The annotations are the schema: a field's type says how its JSON is read. Nothing that is loaded can execute code.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Self

from jitwarmup.records.checks import is_number
from jitwarmup.records.errors import ArgumentError

TRANSIENT = "transient"  # metadata key of fields that live in this process only


class Record:
    """Mixin of every record: ``to_dict`` gives plain JSON types, ``from_dict`` reads them back to an equal record."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """The record as dicts, lists, str, int, float, bool and None."""
        document: dict[str, Any] = encode(self)
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """
        Read what ``to_dict`` wrote. Unknown keys are ignored (a minor version may add them).

        Raises:
            ArgumentError: the document is foreign, of a newer schema, or lacks a field.

        """
        record: Self = decode_record(cls, document)
        return record


def encode(value: Any) -> Any:
    """A record, or a value inside one, as plain JSON types."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in fields(value) if not f.metadata.get(TRANSIENT)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        found = {str(key): (item, encode(item)) for key, item in value.items()}
        return {key: plain for key, (item, plain) in found.items() if item is None or plain is not None}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value  # JSON has no such numbers


def decode_record(kind: Any, document: Any) -> Any:
    """Read one record of the dataclass ``kind``."""
    if not isinstance(document, Mapping):
        raise ArgumentError(f"cannot read a {kind.__name__} from {type(document).__name__}; wanted what to_dict() gave")
    known = {f.name: f for f in fields(kind) if not f.metadata.get(TRANSIENT)}
    check_schema(kind, known, document)
    hints, found, name = field_types(kind), {}, ""
    try:
        for name in filter(document.__contains__, known):
            found[name] = decode(hints[name], document[name])
        return kind(**found)
    except ArgumentError:
        raise
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"cannot read a {kind.__name__}, {name}: {error}; wanted the dict that {kind.__name__}.to_dict() wrote"
        ) from error


def check_schema(kind: type[Any], known: Mapping[str, Any], document: Mapping[str, Any]) -> None:
    """Refuse a document that another program, or a newer jitwarmup, wrote."""
    wanted, got = known["schema"].default if "schema" in known else None, document.get("schema")
    if wanted in (None, got):
        return
    name, _, version = wanted.partition("/")
    newer = isinstance(got, str) and got.startswith(f"{name}/") and got.removeprefix(f"{name}/").isdigit()
    way_out = "update jitwarmup to read it" if newer else f"give the dict that {kind.__name__}.to_dict() wrote"
    shown = repr(got) if isinstance(got, str) and len(got) < 40 else type(got).__name__
    raise ArgumentError(
        f"cannot read a {kind.__name__} of schema {shown}; wanted {wanted!r} (version {version}): {way_out}"
    )


field_types = cache(typing.get_type_hints)


def decode(kind: Any, value: Any) -> Any:  # noqa: PLR0911 - one way out for each form of annotation
    """Read one value by its annotation; raises ValueError where it does not fit."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if any(isinstance(one, type) and isinstance(value, one) for one in inner):
            return bounded(value)
        return decode([one for one in inner if one is not types.NoneType][-1], value)
    if origin is tuple:  # of any length, or a pair
        items = checked(value, (list, tuple), "a list")
        wanted = (inner[0],) * len(items) if inner[-1] is Ellipsis else inner
        if len(items) != len(wanted):
            raise ValueError(f"got {len(items)} items where {len(wanted)} are wanted")
        return tuple(map(decode, wanted, items))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: decode(inner[1], entry) for key, entry in checked(value, Mapping, kind).items()}
    if origin is typing.Literal:
        if value not in inner:
            raise ValueError(f"got {value!r}, wanted one of {inner}")
        return value
    if is_dataclass(kind):
        return decode_record(kind, value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    return decode_plain(kind, value)


def decode_plain(kind: Any, value: Any) -> Any:
    """Read str, int, float, bool."""
    bounded(value)
    if kind is float and type(value) is int:  # JSON readers may have turned 1.0 into 1
        return float(value)
    if kind is int and isinstance(value, bool):
        raise ValueError("got bool where int is wanted")
    return checked(value, kind, kind.__name__)


def bounded(value: Any) -> Any:
    """The value, or an error when it is a number that nothing can be computed with."""
    if type(value) in (int, float) and not is_number(value):
        raise ValueError("got a number that is huge, next to nothing, or not finite")
    return value


def checked(value: Any, kind: Any, wanted: Any) -> Any:
    """The value, or an error when it is not of the kind."""
    if not isinstance(value, kind):
        raise ValueError(f"got {type(value).__name__} where {wanted} is wanted")  # noqa: TRY004 - one error for all shapes
    return value
