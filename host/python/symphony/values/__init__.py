"""Values on their way across the bridge: records, type hints, JSON.

``coerce`` makes a decoded value into what a type hint says; ``json_value`` makes a value into what a
person or another program can read. Nothing here imports a class by name: classes come from hints only.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from symphony.errors import ConversionError
from symphony.values.coercion import Mismatch, Mode, converter
from symphony.values.families import family_of
from symphony.values.records import Record
from symphony.values.registry import register_types, registered_kind
from symphony.values.secret import Secret

__all__ = ["Record", "coerce", "json_value", "register_types"]

_AS_RECORDED = Mode()


def coerce(value: Any, hint: Any, path: str = "", mode: Mode = _AS_RECORDED) -> Any:
    """The value as ``hint`` says, or an error that names the place.

    Parameters
    ----------
    value:
        What the codec decoded, or with a JSON mode, what JSON gave.
    hint:
        A type hint; ``Any`` or a missing one lets everything pass.
    path:
        What the value is called in errors.
    mode:
        Whether the value comes from JSON, and the folder that relative paths start from.

    Raises
    ------
    ConversionError
        ``urls[3]: expected str, got int``

    Example
    -------
    >>> coerce([1, 2], tuple[int, ...], mode=Mode(json=True))
    (1, 2)
    """
    try:
        return converter(hint)(value, mode)
    except Mismatch as found:
        raise ConversionError(found.message(path)) from None


def json_value(value: Any, path: str = "result") -> Any:
    """The value as plain JSON: ISO dates, base64 bytes, lists for tuples and sets, objects for dataclasses.

    Infinite and undefined numbers become the strings "Infinity", "-Infinity" and "NaN", since JSON has none.

    Raises
    ------
    ConversionError
        The value has no JSON form; the message names its place.

    Example
    -------
    >>> json_value({"day": date(2024, 1, 2), "raw": b"\\x00"})
    {'day': '2024-01-02', 'raw': 'AA=='}
    """
    if value is None or (isinstance(value, (bool, str)) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return json_value(value.value, path)
    if isinstance(value, Secret):
        return value.source
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode("ascii")
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return _number(value.total_seconds())
    if isinstance(value, (UUID, Decimal, PurePath, complex)):
        return str(value)
    return _container(value, path)


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _container(value: Any, path: str) -> Any:
    if isinstance(value, Record):
        return _object(value.fields, path)
    registered = registered_kind(type(value))
    if registered is not None and registered.encode is not None:
        return json_value(registered.encode(value), path)
    family = family_of(type(value))
    if family is not None:
        return _object(family.take(value), path)
    if isinstance(value, Mapping):
        return {_key(key, path): json_value(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, Set):
        return [json_value(item, f"{path}{{}}") for item in _ordered(value)]
    if isinstance(value, (Sequence, range)):
        return [json_value(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if hasattr(value, "tolist"):
        return json_value(value.tolist(), path)
    raise ConversionError(
        f"{path}: {type(value).__name__} has no JSON form",
        hint="return plain values, dataclasses or artifact ids from a workflow",
    )


def _object(fields: Mapping[str, Any], path: str) -> dict[str, Any]:
    return {name: json_value(item, f"{path}.{name}") for name, item in fields.items()}


def _key(key: Any, path: str) -> str:
    if isinstance(key, str) and not isinstance(key, Enum):
        return key
    plain = json_value(key, path)
    return plain if isinstance(plain, str) else str(plain)


def _ordered(items: Set[Any]) -> list[Any]:
    """Sets have no order of their own; the same set must always show the same JSON."""
    try:
        return sorted(items)
    except TypeError:
        return sorted(items, key=repr)
