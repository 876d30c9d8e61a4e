"""Hints for classes with named fields and TypedDicts: fields by name, unknown and missing ones are errors."""

from __future__ import annotations

import difflib
import typing
from functools import lru_cache
from typing import Any

from symphony.values.coercion import Converter, Mismatch, Mode, converter, expected
from symphony.values.families import family_of
from symphony.values.records import Record

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

    from symphony.values.families import Family, Field


def structure_converter(hint: type) -> Converter | None:
    """The converter for a class with named fields, or None when the hint is no such class."""
    if typing.is_typeddict(hint):
        return _typed_dict(hint)
    family = family_of(hint)
    return None if family is None else _structure(hint, family)


@lru_cache(maxsize=1024)
def field_hints(kind: type) -> dict[str, Any]:
    """The hints of a class; when they cannot be resolved (TYPE_CHECKING imports), everything passes."""
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except Exception:  # the annotations are the author's code, any error may come out of them
        return {}


def _convert_fields(kind: type, given: Mapping[str, Any], mode: Mode) -> dict[str, Any]:
    hints = field_hints(kind)
    converted = {}
    for name, value in given.items():
        try:
            # Looked up at the call and not at the build, so that a class may name itself in its fields.
            converted[name] = converter(hints.get(name, Any))(value, mode)
        except Mismatch as mismatch:
            if mode.strict:
                raise mismatch.inside(f".{name}") from None
            converted[name] = value
    return converted


def _check_names(given: Mapping[str, Any], known: set[str], required: set[str]) -> None:
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            raise Mismatch(f"unknown field {name!r}" + (f", did you mean {close[0]!r}?" if close else ""))
    missing = sorted(required - set(given))
    if missing:
        raise Mismatch(f"missing field {missing[0]!r}")


def _structure(hint: Any, family: Family) -> Converter:
    fields = family.fields(hint)
    known = {name for name, field in fields.items() if field.init}
    required = {name for name, field in fields.items() if field.required}

    def convert(value: Any, mode: Mode) -> Any:
        if isinstance(value, hint):
            return value
        if isinstance(value, Record):
            return _restored(hint, family, fields, value, mode)
        given = value
        if mode.json and isinstance(value, list) and issubclass(hint, tuple):
            if len(value) > len(fields):
                raise Mismatch(f"expected {len(fields)} items, got {len(value)}")
            given = dict(zip(fields, value, strict=False))
        if not isinstance(given, dict):
            raise expected(hint, value)
        _check_names(given, {*known, *given} if family.takes_more(hint) else known, required)
        try:
            return family.make(hint, _convert_fields(hint, given, mode))
        except (ValueError, TypeError) as error:  # what the class itself says about the values
            raise Mismatch(str(error)) from error

    return convert


def _restored(hint: Any, family: Family, fields: Mapping[str, Field], record: Record, mode: Mode) -> Any:
    """The object as it was recorded: its own checks have already run, once, when it was made."""
    if not family.takes_more(hint):
        _check_names(record.fields, set(fields), set())
    converted = _convert_fields(hint, record.fields, mode)
    for name, field in fields.items():
        if name not in converted:
            if field.default is None:
                raise Mismatch(f"the record has no field {name!r}")
            converted[name] = field.default()
    return family.restore(hint, converted)


def typed_dict_fields(hint: Any) -> tuple[dict[str, Any], set[str]]:
    """The hints of a TypedDict's keys, and which are required."""
    # ``__required_keys__`` knows nothing of marks in annotations that are still text.
    hints = field_hints(hint)
    known = {*hint.__required_keys__, *hint.__optional_keys__}
    required = {
        name
        for name in known
        if typing.get_origin(hints.get(name)) is not typing.NotRequired
        and (name in hint.__required_keys__ or typing.get_origin(hints.get(name)) is typing.Required)
    }
    return {name: hints.get(name, Any) for name in known}, required


def _typed_dict(hint: Any) -> Converter:
    hints, required = typed_dict_fields(hint)

    def convert(value: Any, mode: Mode) -> Any:
        if not isinstance(value, dict):
            raise expected(hint, value)
        _check_names(value, set(hints), required)
        return _convert_fields(hint, value, mode)

    return convert
