"""
Frozen dataclasses to plain JSON types and back, exactly.

The annotations are the schema: a field's type says how its JSON is read. Nothing that is loaded can execute code.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Self

from jitwarmup.records.errors import ArgumentError

TRANSIENT = "transient"  # metadata key of fields that live in this process only


class Record:
    """Mixin of every record: ``to_dict`` gives plain JSON types, ``from_dict`` reads them back to an equal record."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """The record as dicts, lists, str, int, float, bool and None."""
        document = encode(self)
        assert isinstance(document, dict)  # noqa: S101 - a record encodes to a dict
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
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    return value


def decode_record(kind: type[Any], document: Any) -> Any:
    """Read one record of the dataclass ``kind``."""
    if not isinstance(document, Mapping):
        raise ArgumentError(f"cannot read a {kind.__name__} from {type(document).__name__}; wanted what to_dict() gave")
    known = {f.name: f for f in fields(kind) if not f.metadata.get(TRANSIENT)}
    check_schema(kind, known, document)
    hints = FIELD_TYPES.get(kind) or field_types(kind)
    try:
        return kind(**{name: decode(hints[name], document[name]) for name in known if name in document})
    except (TypeError, ValueError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(
            f"cannot read a {kind.__name__}: {error}; wanted the dict that {kind.__name__}.to_dict() wrote"
        ) from error


def check_schema(kind: type[Any], known: Mapping[str, Any], document: Mapping[str, Any]) -> None:
    """Refuse a document that another program, or a newer jitwarmup, wrote."""
    if "schema" not in known:
        return
    wanted = known["schema"].default
    got = document.get("schema")
    if got == wanted:
        return
    name, _, version = wanted.partition("/")
    newer = isinstance(got, str) and got.startswith(name + "/") and got[len(name) + 1 :].isdigit()
    way_out = "update jitwarmup to read it" if newer else f"give the dict that {kind.__name__}.to_dict() wrote"
    shown = repr(got) if isinstance(got, str) and len(got) < 40 else type(got).__name__
    raise ArgumentError(
        f"cannot read a {kind.__name__} of schema {shown}; wanted {wanted!r} (version {version}): {way_out}"
    )


FIELD_TYPES: dict[type[Any], dict[str, Any]] = {}


def field_types(kind: type[Any]) -> dict[str, Any]:
    """Resolved annotations of a record, looked up once."""
    found = FIELD_TYPES[kind] = typing.get_type_hints(kind)
    return found


def decode(kind: Any, value: Any) -> Any:  # noqa: PLR0911 - one way out for each form of annotation
    """Read one value by its annotation."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return decode_union(typing.get_args(kind), value)
    if origin is tuple:
        return decode_tuple(typing.get_args(kind), value)
    if origin is not None and issubclass_safe(origin, Mapping):
        item = typing.get_args(kind)[1]
        return {key: decode(item, entry) for key, entry in checked(value, Mapping, kind).items()}
    if origin is typing.Literal:
        if value not in typing.get_args(kind):
            raise ValueError(f"got {value!r}, wanted one of {typing.get_args(kind)}")
        return value
    if is_dataclass(kind):
        return decode_record(typing.cast("type[Any]", kind), value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    return decode_plain(kind, value)


def decode_plain(kind: Any, value: Any) -> Any:
    """Read str, int, float, bool; JSON readers may have turned 1.0 into 1."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise ValueError(f"got {type(value).__name__} where {kind.__name__} is wanted")
    return value


def decode_union(kinds: tuple[Any, ...], value: Any) -> Any:
    """``X | None`` (or a few plain alternatives)."""
    if value is None:
        if type(None) in kinds:
            return None
        raise ValueError("got null where a value is wanted")
    others = [kind for kind in kinds if kind is not type(None)]
    for kind in others[:-1]:
        if isinstance(kind, type) and isinstance(value, kind):
            return value
    return decode(others[-1], value)


def decode_tuple(kinds: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    """``tuple[X, ...]`` or ``tuple[X, Y]``."""
    items = checked(value, (list, tuple), "a list")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(decode(kinds[0], item) for item in items)
    if len(items) != len(kinds):
        raise ValueError(f"got {len(items)} items where {len(kinds)} are wanted")
    return tuple(decode(kind, item) for kind, item in zip(kinds, items, strict=True))


def checked(value: Any, kind: Any, wanted: Any) -> Any:
    """The value, or an error when it is not of the kind."""
    if not isinstance(value, kind):
        raise ValueError(f"got {type(value).__name__} where {wanted} is wanted")  # noqa: TRY004 - one error for all shapes
    return value


def issubclass_safe(kind: Any, parent: type) -> bool:
    """``issubclass`` that answers False for what is no class."""
    return isinstance(kind, type) and issubclass(kind, parent)
