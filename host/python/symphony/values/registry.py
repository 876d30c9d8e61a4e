"""Classes that come back as themselves without a type hint, and how those without fields are written.

Decoding imports nothing, so what a value's class is called in a record means nothing by itself: it is looked
up here, in a type hint, or stays a ``Record``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from symphony.errors import Conflict, InvalidInput
from symphony.values.families import family_of

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass(frozen=True)
class Registered:
    """A class under its name; with a codec of its own, or by its fields."""

    kind: type
    name: str
    encode: Callable[[Any], Any] | None
    decode: Callable[[Any], Any] | None


_BY_KIND: dict[type, Registered] = {}
_BY_NAME: dict[str, Registered] = {}


def register_types(
    kind: type[T],
    /,
    *more: type,
    encode: Callable[[T], Any] | None = None,
    decode: Callable[[Any], T] | None = None,
    name: str = "",
) -> type[T]:
    """Let values of a class cross the bridge, into Pit calls, step results and back, as that class.

    Dataclasses, NamedTuples, enums, msgspec structs, attrs classes and pydantic models need no codec: they
    cross by their fields anyway, and registered they also come back as themselves where no type hint names
    them. Any other class needs ``encode`` and ``decode``. Usable as a decorator.

    Parameters
    ----------
    kind, more:
        The classes; with a codec or a name exactly one. Subclasses are not included.
    encode:
        Gives what stands for a value: anything that crosses the bridge itself.
    decode:
        Gives an equal value back.
    name:
        What the class is called in records, by default ``module.Class``. Records outlive the code: give it
        where the class may move.

    Returns
    -------
    type
        ``kind``, unchanged.

    Raises
    ------
    InvalidInput
        Only one of ``encode`` and ``decode`` is given, or the class has no fields and no codec.
    Conflict
        Another class has this name.

    Example
    -------
    >>> class Money:
    ...     def __init__(self, cents: int) -> None:
    ...         self.cents = cents
    >>> register_types(Money, encode=lambda money: money.cents, decode=Money, name="shop.Money")
    <class 'symphony.values.registry.Money'>
    """
    if more and (encode or decode or name):
        raise InvalidInput("a codec and a name are for one class", hint="call register_types once for each")
    if (encode is None) != (decode is None):
        raise InvalidInput(f"{kind.__qualname__}: encode and decode belong together")
    added = [
        _checked(each, name or f"{each.__module__}.{each.__qualname__}", encode, decode)
        for each in (kind, *more)
    ]
    for registered in added:
        _BY_KIND[registered.kind] = registered
        _BY_NAME[registered.name] = registered
    return kind


def _checked(
    kind: type, name: str, encode: Callable[[Any], Any] | None, decode: Callable[[Any], Any] | None
) -> Registered:
    if not isinstance(kind, type):
        raise InvalidInput(f"expected a class to register, got {type(kind).__name__}")
    if encode is None and not issubclass(kind, Enum) and family_of(kind) is None:
        raise InvalidInput(
            f"{kind.__qualname__} has no fields to cross by",
            hint="give encode and decode, or make it a dataclass",
        )
    known = _BY_NAME.get(name)
    if known is not None and known.kind is not kind and not _same_source(known.kind, kind):
        raise Conflict(f"the name {name!r} already stands for {known.kind!r}")
    return Registered(kind, name, encode, decode)


def _same_source(old: type, new: type) -> bool:
    """A module that is loaded anew makes its classes anew; the newer ones take the place of the others."""
    return (old.__module__, old.__qualname__) == (new.__module__, new.__qualname__)


def registered_kind(kind: type) -> Registered | None:
    """What is known about a class itself, not about its bases."""
    return _BY_KIND.get(kind)


def registered_name(name: str) -> Registered | None:
    """The class that a record names."""
    return _BY_NAME.get(name)
