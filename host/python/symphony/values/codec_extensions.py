"""Standard library types and numpy's arrays in the durable codec: each becomes a name and a plain value.

Called by the native codec for what is no builtin. Decoding imports no class: those come back as records until
a type hint names them. numpy is loaded only for a value that is one of its arrays.
"""

from __future__ import annotations

import dataclasses
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from symphony.values.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable


def _zone(value: datetime | time) -> Any:
    """None, an IANA name, or a fixed offset in seconds (µs as float keeps them exact below a day)."""
    zone = value.tzinfo
    if zone is None:
        return None
    if isinstance(zone, ZoneInfo) and zone.key:
        return zone.key
    offset = zone.utcoffset(value if isinstance(value, datetime) else None)
    return None if offset is None else (offset.days, offset.seconds, offset.microseconds)


def _unzone(plain: Any) -> Any:
    if plain is None:
        return None
    if isinstance(plain, str):
        return ZoneInfo(plain)
    offset = timedelta(*plain)
    return UTC if not offset else timezone(offset)


def _from_datetime(value: datetime) -> Any:
    return (value.replace(tzinfo=None, fold=0).isoformat(), value.fold, _zone(value))


def _to_datetime(plain: Any) -> datetime:
    return datetime.fromisoformat(plain[0]).replace(fold=plain[1], tzinfo=_unzone(plain[2]))


def _from_time(value: time) -> Any:
    return (value.replace(tzinfo=None, fold=0).isoformat(), value.fold, _zone(value))


def _to_time(plain: Any) -> time:
    return time.fromisoformat(plain[0]).replace(fold=plain[1], tzinfo=_unzone(plain[2]))


_EXACT: dict[type, tuple[str, Callable[[Any], Any]]] = {
    datetime: ("datetime", _from_datetime),
    date: ("date", date.isoformat),
    time: ("time", _from_time),
    timedelta: ("timedelta", lambda value: (value.days, value.seconds, value.microseconds)),
    UUID: ("uuid", lambda value: value.bytes),
    Decimal: ("decimal", str),
    range: ("range", lambda value: (value.start, value.stop, value.step)),
}

_REVIVE: dict[str, Callable[[Any], Any]] = {
    "datetime": _to_datetime,
    "date": date.fromisoformat,
    "time": _to_time,
    "timedelta": lambda plain: timedelta(*plain),
    "uuid": lambda plain: UUID(bytes=plain),
    "decimal": Decimal,
    "range": lambda plain: range(*plain),
    "path": Path,
    "pure_path": PurePosixPath,
    "record": lambda plain: Record(plain[0], plain[1]),
}


def reduce(value: Any) -> tuple[str, Any] | None:
    """Name and plain value of an object, or None when its type has no durable form."""
    kind = type(value)
    exact = _EXACT.get(kind)
    if exact is not None:
        return exact[0], exact[1](value)
    if isinstance(value, PurePath):
        return ("path" if isinstance(value, Path) else "pure_path"), str(value)
    if isinstance(value, Enum):
        return "record", (kind.__qualname__, {"name": value.name, "value": value.value})
    if dataclasses.is_dataclass(kind):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(kind)}
        return "record", (kind.__qualname__, fields)
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return "record", (kind.__qualname__, dict(zip(kind._fields, value, strict=True)))
    if kind is Record:
        return "record", (value.type_name, value.fields)
    return _reduce_array(value)


def _reduce_array(value: Any) -> tuple[str, Any] | None:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if isinstance(value, numpy.ndarray) and type(value) is numpy.ndarray and not value.dtype.hasobject:
        order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
        return "ndarray", (
            numpy.lib.format.dtype_to_descr(value.dtype),
            value.shape,
            order,
            value.tobytes(order),
        )
    if isinstance(value, numpy.generic) and not value.dtype.hasobject:
        return "numpy_scalar", (numpy.lib.format.dtype_to_descr(value.dtype), value.tobytes())
    return None


def revive(name: str, plain: Any) -> Any:
    """The object that ``reduce`` was given; ValueError for a name of another version."""
    known = _REVIVE.get(name)
    if known is not None:
        return known(plain)
    if name in ("ndarray", "numpy_scalar"):
        import numpy

        dtype = numpy.lib.format.descr_to_dtype(plain[0])
        if name == "numpy_scalar":
            return numpy.frombuffer(plain[1], dtype=dtype)[0]
        return numpy.frombuffer(bytearray(plain[3]), dtype=dtype).reshape(plain[1], order=plain[2])
    raise ValueError(f"the encoded value holds an unknown extension {name!r}")
