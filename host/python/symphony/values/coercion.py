"""From a type hint to a function that checks and completes a value.

Each function is built once per hint. It gives the value back, rebuilt where the codec or JSON could not
keep the type, or raises ``Mismatch``, to which every container it passes through adds its part of the path.
"""

from __future__ import annotations

import base64
import binascii
import inspect
import types
import typing
from collections import abc
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, Union
from uuid import UUID

from symphony.errors import InvalidInput
from symphony.values.paths import MustExist
from symphony.values.records import Record
from symphony.values.registry import Registered, registered_kind
from symphony.values.secret import Secret
from symphony.values.type_names import got, type_name


@dataclass(frozen=True)
class Mode:
    """Where a value comes from: the codec (exact types), or JSON (paths, dates, sets as other types).

    Not strict: a field that is not what its hint says stays as it was, for a value that once was like that.
    """

    json: bool = False
    cwd: Path | None = None
    strict: bool = True


Converter = Callable[[Any, Mode], Any]


class Mismatch(Exception):
    """A value is not what its hint says; ``path`` grows on the way out."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = ""

    def inside(self, part: str) -> Mismatch:
        self.path = part + self.path
        return self

    def message(self, name: str) -> str:
        place = (name + self.path).lstrip(".")
        return f"{place}: {self.reason}" if place else self.reason


def expected(hint: Any, value: Any) -> Mismatch:
    return Mismatch(f"expected {type_name(hint)}, got {got(value)}")


def converter(hint: Any) -> Converter:
    """The function for one hint; hints that cannot be hashed are built anew each time."""
    try:
        return _remembered(hint)
    except TypeError:
        return _build(hint)


@lru_cache(maxsize=4096)
def _remembered(hint: Any) -> Converter:
    return _build(hint)


def _build(hint: Any) -> Converter:
    from symphony.values.containers import container_converter
    from symphony.values.structures import structure_converter

    if hint is Any or hint is object or hint is inspect.Parameter.empty or isinstance(hint, typing.TypeVar):
        return _anything
    if hint is None or hint is type(None):
        return _none
    if isinstance(hint, typing.NewType):
        return converter(hint.__supertype__)
    if hasattr(hint, "__value__"):  # `type X = ...` of Python 3.12
        return converter(hint.__value__)
    origin = typing.get_origin(hint)
    if origin is Annotated:
        return _annotated(hint)
    if origin in (typing.Required, typing.NotRequired):
        return converter(typing.get_args(hint)[0])
    if origin in (Union, types.UnionType):
        return _union(hint)
    if origin is Literal:
        return _literal(hint)
    if hint in _SCALARS:
        return _SCALARS[hint]
    container = container_converter(hint, origin or hint)
    if container is not None:
        return container
    if not isinstance(hint, type):
        return _instance(hint, origin)
    if issubclass(hint, Enum):
        return _enum(hint)
    structure = structure_converter(hint)
    return structure if structure is not None else _instance(hint, hint)


def _anything(value: Any, _mode: Mode) -> Any:
    return value


def _none(value: Any, _mode: Mode) -> None:
    if value is not None:
        raise expected(None, value)


def _text(value: Any, _mode: Mode) -> Any:
    if not isinstance(value, str):
        raise expected(str, value)
    return value


def _truth(value: Any, _mode: Mode) -> Any:
    if not isinstance(value, bool):
        raise expected(bool, value)
    return value


def _integer(value: Any, mode: Mode) -> Any:
    if not isinstance(value, int) or (mode.json and isinstance(value, bool)):
        raise expected(int, value)
    return value


def _float(value: Any, _mode: Mode) -> Any:
    if isinstance(value, float):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    raise expected(float, value)


def _complex(value: Any, _mode: Mode) -> Any:
    if isinstance(value, (int, float, complex)) and not isinstance(value, bool):
        return complex(value)
    raise expected(complex, value)


def _bytes(value: Any, mode: Mode) -> Any:
    if isinstance(value, bytes):
        return value
    if mode.json and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error:
            raise Mismatch(f"expected bytes in base64, got {got(value)}") from None
    raise expected(bytes, value)


def _path(value: Any, mode: Mode) -> Any:
    if isinstance(value, str) and mode.json:
        value = Path(value).expanduser()
    if not isinstance(value, PurePath):
        raise expected(Path, value)
    return mode.cwd / value if mode.cwd is not None else value


def _secret(value: Any, mode: Mode) -> Any:
    if isinstance(value, str) and mode.json:
        try:
            value = Secret(value)
        except InvalidInput as error:
            raise Mismatch(f"{error}; {error.hint}") from None
    if not isinstance(value, Secret):
        raise Mismatch("expected a Secret: env:NAME or file:PATH")  # what it is may be the value
    return value.within(mode.cwd) if mode.cwd is not None else value


def _written(kind: type, read: Callable[[Any], Any]) -> Converter:
    """For types that JSON writes as text or a number."""

    def convert(value: Any, mode: Mode) -> Any:
        if isinstance(value, kind):
            return value
        if mode.json and isinstance(value, (str, int, float)) and not isinstance(value, bool):
            try:
                return read(value)
            except (ValueError, TypeError, ArithmeticError, InvalidOperation):
                pass
        raise expected(kind, value)

    return convert


_SCALARS: dict[Any, Converter] = {
    str: _text,
    bool: _truth,
    int: _integer,
    float: _float,
    complex: _complex,
    bytes: _bytes,
    Path: _path,
    PurePath: _path,
    Secret: _secret,
    datetime: _written(datetime, datetime.fromisoformat),
    date: _written(date, date.fromisoformat),
    time: _written(time, time.fromisoformat),
    timedelta: _written(timedelta, lambda seconds: timedelta(seconds=seconds)),
    Decimal: _written(Decimal, lambda text: Decimal(str(text))),
    UUID: _written(UUID, UUID),
}


def _annotated(hint: Any) -> Converter:
    inner = converter(typing.get_args(hint)[0])
    marks = [mark for mark in hint.__metadata__ if isinstance(mark, MustExist)]
    if not marks:
        return inner

    def convert(value: Any, mode: Mode) -> Any:
        path = inner(value, mode)
        # Checked when the run is started; on resume a folder that has gone is the step's business.
        problem = marks[0].problem(path) if mode.json else None
        if problem is not None:
            raise Mismatch(problem)
        return path

    return convert


def _union(hint: Any) -> Converter:
    members = typing.get_args(hint)
    converters = [converter(member) for member in members]

    def convert(value: Any, mode: Mode) -> Any:
        if type(value) in members:
            return value
        found: list[Mismatch] = []
        for attempt in converters:
            try:
                return attempt(value, mode)
            except Mismatch as mismatch:
                found.append(mismatch)
        deeper = [mismatch for mismatch in found if mismatch.path]
        existence = [mismatch for mismatch in found if not mismatch.reason.startswith("expected")]
        if len(deeper) == 1 or existence:
            raise (deeper or existence)[0]
        raise expected(hint, value)

    return convert


def _literal(hint: Any) -> Converter:
    allowed = typing.get_args(hint)

    def convert(value: Any, _mode: Mode) -> Any:
        for choice in allowed:
            if type(choice) is type(value) and choice == value:
                return choice
        raise Mismatch(f"expected one of {', '.join(map(repr, allowed))}, got {got(value)}")

    return convert


def _enum(hint: type[Enum]) -> Converter:
    def convert(value: Any, mode: Mode) -> Any:
        if isinstance(value, hint):
            return value
        if isinstance(value, Record):
            name = str(value.fields.get("name"))
            if name in hint.__members__:
                return hint.__members__[name]
            value = value.fields.get("value", value)
        elif mode.json and isinstance(value, str) and value in hint.__members__:
            return hint.__members__[value]
        try:
            return hint(value)
        except ValueError:
            names = ", ".join(hint.__members__)
            raise Mismatch(f"expected {hint.__name__} ({names}), got {got(value)}") from None

    return convert


def _instance(hint: Any, kind: Any) -> Converter:
    """Any other class: the value must be one, unless nobody can tell (protocols, special forms)."""
    if not isinstance(kind, type) or kind is abc.Callable:
        return _anything

    def convert(value: Any, mode: Mode) -> Any:
        registered = registered_kind(kind)  # at the call: a plugin may register it later
        if registered is not None and registered.decode is not None and type(value) is not kind:
            return _decoded(registered, value, mode)
        if isinstance(value, Record) and value.type_name in (kind.__name__, kind.__qualname__):
            return kind(**value.fields)
        try:
            fits = isinstance(value, kind)
        except TypeError:
            return value
        if not fits:
            raise expected(hint, value)
        return value

    return convert


def _decoded(registered: Registered, value: Any, mode: Mode) -> Any:
    """A value of a class with a codec: from its record, or from JSON as the codec wrote it."""
    assert registered.decode is not None  # asked by the caller
    if isinstance(value, Record) and value.type_name == registered.name:
        return registered.decode(value.fields["value"])
    if not mode.json:
        raise expected(registered.kind, value)
    try:
        return registered.decode(value)
    except (ValueError, TypeError, LookupError) as error:
        raise Mismatch(f"{expected(registered.kind, value).reason}: {error}") from error
