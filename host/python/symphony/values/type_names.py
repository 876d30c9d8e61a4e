"""What a type hint is called in messages and in the list of workflow inputs."""

from __future__ import annotations

import inspect
import types
import typing
from typing import Annotated, Any, Literal, Union

from symphony.values.paths import MustExist


def type_name(hint: Any) -> str:
    """A short name a person recognises.

    Example
    -------
    >>> type_name(dict[str, list[int] | None])
    'dict[str, list[int] | None]'
    """
    if hint is Any or hint is inspect.Parameter.empty:
        return "any"
    if hint is None or hint is type(None):
        return "None"
    if hint is ...:
        return "..."
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        marks = [mark for mark in arguments[1:] if isinstance(mark, MustExist)]
        return marks[0].name if marks else type_name(arguments[0])
    if origin in (Union, types.UnionType):
        return " | ".join(type_name(argument) for argument in arguments)
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if origin is not None and arguments:
        name = getattr(origin, "__name__", str(origin))
        return f"{name}[{', '.join(type_name(argument) for argument in arguments)}]"
    return getattr(hint, "__name__", None) or str(hint).removeprefix("typing.")


def got(value: Any) -> str:
    """What a value is called when another type was expected; a short string, often a typo, is quoted."""
    if value is None:
        return "None"
    name = type(value).__name__
    if isinstance(value, str) and len(value) <= 60:
        return f"{name} ({str(value)!r})"
    return name
