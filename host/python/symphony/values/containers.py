"""Hints for lists, tuples, sets and mappings: every item is converted, errors carry its place."""

from __future__ import annotations

import typing
from collections import abc
from typing import Any

from symphony.values.coercion import Converter, Mismatch, Mode, converter, expected

_SETS = {set: set, frozenset: frozenset, abc.Set: frozenset, abc.MutableSet: set}
_SEQUENCES = (list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable, abc.Reversible)
_MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)


def container_converter(hint: Any, origin: Any) -> Converter | None:
    """The converter for a builtin container or its abstract class, or None when the hint is no such thing."""
    arguments = typing.get_args(hint)
    if origin is tuple:
        return _tuple(hint, arguments)
    if origin in _SEQUENCES:
        return _sequence(hint, origin, arguments[0] if arguments else Any)
    if origin in _SETS:
        return _set(hint, origin, arguments[0] if arguments else Any)
    if origin in _MAPPINGS:
        return _mapping(hint, *(arguments or (Any, Any)))
    return None


def _items(values: Any, item: Converter, mode: Mode) -> list[Any]:
    converted = []
    for index, value in enumerate(values):
        try:
            converted.append(item(value, mode))
        except Mismatch as mismatch:
            raise mismatch.inside(f"[{index}]") from None
    return converted


def _sequence(hint: Any, origin: Any, item_hint: Any) -> Converter:
    item = converter(item_hint)

    def convert(value: Any, mode: Mode) -> Any:
        if isinstance(value, list):
            return _items(value, item, mode)
        if origin is not list and isinstance(value, tuple):
            return tuple(_items(value, item, mode))
        if origin in (abc.Collection, abc.Iterable, abc.Sequence) and isinstance(
            value, (set, frozenset, dict, range)
        ):
            return value
        raise expected(hint, value)

    return convert


def _tuple(hint: Any, arguments: tuple[Any, ...]) -> Converter:
    same = len(arguments) == 2 and arguments[1] is ...
    items = [converter(argument) for argument in arguments if argument is not ...]

    def convert(value: Any, mode: Mode) -> Any:
        if not isinstance(value, tuple) and not (mode.json and isinstance(value, list)):
            raise expected(hint, value)
        if not arguments:
            return tuple(value)
        if same:
            return tuple(_items(value, items[0], mode))
        if len(value) != len(items):
            raise Mismatch(f"expected {len(items)} items, got {len(value)}")
        converted = []
        for index, (item, part) in enumerate(zip(items, value, strict=False)):
            try:
                converted.append(item(part, mode))
            except Mismatch as mismatch:
                raise mismatch.inside(f"[{index}]") from None
        return tuple(converted)

    return convert


def _set(hint: Any, origin: Any, item_hint: Any) -> Converter:
    item = converter(item_hint)
    kind = _SETS[origin]

    def convert(value: Any, mode: Mode) -> Any:
        if not isinstance(value, (set, frozenset)) and not (mode.json and isinstance(value, list)):
            raise expected(hint, value)
        if origin in (set, frozenset) and not mode.json and not isinstance(value, origin):
            raise expected(hint, value)
        return kind(_items(value, item, mode))

    return convert


def _mapping(hint: Any, key_hint: Any, value_hint: Any) -> Converter:
    key, item = converter(key_hint), converter(value_hint)

    def convert(value: Any, mode: Mode) -> Any:
        if not isinstance(value, dict):
            raise expected(hint, value)
        converted = {}
        for name, part in value.items():
            try:
                converted[_key(key, name, mode)] = item(part, mode)
            except Mismatch as mismatch:
                raise mismatch.inside(f"[{name!r}]") from None
        return converted

    return convert


def _key(key: Converter, name: Any, mode: Mode) -> Any:
    """JSON has only text as keys; ``dict[int, ...]`` reads them as numbers."""
    try:
        return key(name, mode)
    except Mismatch:
        if mode.json and isinstance(name, str):
            for read in (int, float):
                try:
                    return key(read(name), mode)
                except (ValueError, Mismatch):
                    continue
        raise
