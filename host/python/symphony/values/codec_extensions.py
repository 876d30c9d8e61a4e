"""The types that neither the native codec nor the Pit's ABI has a tag for, as a name and a plain value.

The one table for records and for Pit calls. Decoding imports no class: those come back as records until a
type hint or ``register_types`` names them. numpy is loaded only for a value that is one of its arrays.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from symphony.errors import TypeMissing
from symphony.values.families import family_of
from symphony.values.records import Record
from symphony.values.registry import registered_kind, registered_name
from symphony.values.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from symphony.values.registry import Registered

_SCALARS = (str, int, float, bytes)
_NATIVE = frozenset(
    (
        *(bool, int, float, str, bytes, bytearray, memoryview, type(None)),
        *(list, tuple, dict, set, frozenset),
    )
)


def _zone(value: datetime | time) -> Any:
    """None, an IANA name, or a fixed offset as days, seconds, microseconds and, where it has one, a name."""
    zone = value.tzinfo
    if zone is None:
        return None
    if type(zone) is ZoneInfo and zone.key:
        return zone.key
    offset = zone.utcoffset(value if isinstance(value, datetime) else None)
    if offset is None:
        raise ValueError(f"the time zone {zone!r} has neither a name nor an offset here")
    named = zone.__reduce__()[1][1:] if type(zone) is timezone else ()
    return (offset.days, offset.seconds, offset.microseconds, *named)


def _unzone(plain: Any) -> Any:
    if plain is None:
        return None
    if isinstance(plain, str):
        return ZoneInfo(plain)
    offset = timedelta(*plain[:3])
    return UTC if not offset and len(plain) == 3 else timezone(offset, *plain[3:])


def _from_clock(value: Any) -> Any:
    return (value.replace(tzinfo=None, fold=0).isoformat(), value.fold, _zone(value))


def _to_datetime(plain: Any) -> datetime:
    return datetime.fromisoformat(plain[0]).replace(fold=plain[1], tzinfo=_unzone(plain[2]))


def _to_time(plain: Any) -> time:
    return time.fromisoformat(plain[0]).replace(fold=plain[1], tzinfo=_unzone(plain[2]))


def _from_path(value: PurePath) -> str | bytes:
    """Text, or bytes where a name on the disk is no text."""
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(value)
    return text


def _to_path(kind: type[PurePath]) -> Callable[[Any], PurePath]:
    return lambda plain: kind(os.fsdecode(plain))


_EXACT: dict[type, tuple[str, Callable[[Any], Any]]] = {
    datetime: ("datetime", _from_clock),
    date: ("date", date.isoformat),
    time: ("time", _from_clock),
    timedelta: ("timedelta", lambda value: (value.days, value.seconds, value.microseconds)),
    UUID: ("uuid", lambda value: value.bytes),
    Decimal: ("decimal", str),
    range: ("range", lambda value: (value.start, value.stop, value.step)),
    complex: ("complex", lambda value: (value.real, value.imag)),
    PosixPath: ("path", _from_path),
    PurePosixPath: ("pure_path", _from_path),
    PureWindowsPath: ("windows_path", _from_path),
    Record: ("record", lambda value: (value.type_name, value.fields)),
    Secret: ("secret", lambda value: value.source),
}

_REVIVE: dict[str, Callable[[Any], Any]] = {
    "datetime": _to_datetime,
    "date": date.fromisoformat,
    "time": _to_time,
    "timedelta": lambda plain: timedelta(*plain),
    "uuid": lambda plain: UUID(bytes=plain),
    "decimal": Decimal,
    "range": lambda plain: range(*plain),
    "complex": lambda plain: complex(*plain),
    "path": _to_path(Path),
    "pure_path": _to_path(PurePosixPath),
    "windows_path": _to_path(PureWindowsPath),
    "secret": Secret,
}


def reduce(value: Any) -> tuple[str, Any, Any] | None:
    """Name, plain value and nearest builtin value of an object, or None when its type has no such form.

    Only the true type counts, whatever ``__class__`` says. The nearest builtin value is what a component
    reads that knows nothing of the type: the fields of a record, the number of an ``IntEnum``, the bytes of
    an array.
    """
    kind = type(value)
    exact = _EXACT.get(kind)
    if exact is not None:
        plain = exact[1](value)
        return exact[0], plain, plain[1] if kind is Record else None
    registered = registered_kind(kind)
    if registered is not None and registered.encode is not None:
        return "typed", _typed(registered, value), None
    name = kind.__qualname__ if registered is None else registered.name
    if issubclass(kind, Enum):
        return _reduce_enum(name, kind, value)
    family = family_of(kind)
    if family is not None:
        fields = family.take(value)
        return "record", (name, fields), tuple(fields.values()) if issubclass(kind, tuple) else fields
    return _reduce_array(kind, value)


def crosses_anyway(kind: type) -> bool:
    """Whether values of a class need no codec, and would not be given to one."""
    numpy = sys.modules.get("numpy")
    return kind in _EXACT or kind in _NATIVE or (numpy is not None and kind is numpy.ndarray)


def _typed(registered: Registered, value: Any) -> tuple[Any, ...]:
    """Name and plain value, and the plugin that gave the codec, where its name does not say so."""
    assert registered.encode is not None  # asked by the caller
    plain, plugin = registered.encode(value), registered.plugin
    if not plugin or registered.name.startswith(f"{plugin}:"):
        return registered.name, plain
    return registered.name, plain, plugin


def _untyped(name: str, plain: Any, plugin: str = "") -> Any:
    if registered_name(name) is None and (plugin := plugin or name.rpartition(":")[0]):
        raise TypeMissing(
            f"a recorded value is of the type {name}, whose plugin {plugin} is not loaded",
            hint=f"symphony plugins info {plugin}; enable or install it",
        )
    return _revive_record(Record(name, {"value": plain}))


def _reduce_enum(name: str, kind: type, value: Any) -> tuple[str, Any, Any]:
    inner = value.value
    base = inner if issubclass(kind, _SCALARS) and type(inner) in _SCALARS else None
    return "record", (name, {"name": value.name, "value": inner}), base


def _reduce_array(kind: type, value: Any) -> tuple[str, Any, Any] | None:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if kind is numpy.ndarray and not value.dtype.hasobject:
        order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
        content = _content(numpy, value, order)
        return "ndarray", (numpy.lib.format.dtype_to_descr(value.dtype), value.shape, order, content), content
    if issubclass(kind, numpy.generic) and not value.dtype.hasobject:
        item = value.item()
        plain = (numpy.lib.format.dtype_to_descr(value.dtype), value.tobytes())
        return "numpy_scalar", plain, item if type(item) in (bool, *_SCALARS) else None
    return None


def _content(numpy: Any, array: Any, order: Any) -> Any:
    """The bytes of an array, where they lie if they lie in one piece."""
    if array.dtype.itemsize == 0 or array.size == 0:
        return b""
    flat = numpy.ascontiguousarray(array.reshape(-1, order=order))  # a copy only of what has gaps
    return memoryview(flat.view(numpy.uint8))


def revive(name: str, plain: Any) -> Any:
    """The object that ``reduce`` was given.

    Raises ``ValueError`` for a name of another version, ``TypeMissing`` where a plugin has the codec.
    """
    known = _REVIVE.get(name)
    if known is not None:
        return known(plain)
    if name == "record":
        return _revive_record(Record(plain[0], plain[1]))
    if name == "typed":
        return _untyped(*plain)
    if name in ("ndarray", "numpy_scalar"):
        return _revive_array(name, plain)
    raise ValueError(f"the encoded value holds an unknown extension {name!r}")


def _revive_record(record: Record) -> Any:
    registered = registered_name(record.type_name)
    if registered is None:
        return record
    if registered.decode is not None:
        return registered.decode(record.fields["value"])
    from symphony.values.coercion import Mismatch, Mode, converter

    try:
        return converter(registered.kind)(record, Mode(strict=False))
    except Mismatch:
        return record  # the class has other fields now; a hint will say what does not fit


def _revive_array(name: str, plain: Any) -> Any:
    import numpy

    dtype = numpy.lib.format.descr_to_dtype(plain[0])
    if name == "numpy_scalar":
        return numpy.frombuffer(plain[1], dtype=dtype)[0]
    if dtype.itemsize == 0:
        return numpy.empty(plain[1], dtype=dtype, order=plain[2])
    return numpy.frombuffer(bytearray(plain[3]), dtype=dtype).reshape(plain[1], order=plain[2])
