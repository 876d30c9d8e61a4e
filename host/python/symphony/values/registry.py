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
    from collections.abc import Callable, Iterable

T = TypeVar("T")


@dataclass(frozen=True)
class Registered:
    """A class under its name; with a codec of its own, or by its fields. ``plugin`` is which one gave it."""

    kind: type
    name: str
    encode: Callable[[Any], Any] | None
    decode: Callable[[Any], Any] | None
    plugin: str = ""


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
        Another class has this name, or the class is one that crosses anyway, such as ``datetime``.

    Example
    -------
    >>> class Money:
    ...     def __init__(self, cents: int) -> None:
    ...         self.cents = cents
    >>> register_types(Money, encode=lambda money: money.cents, decode=Money, name="shop.Money")
    <class 'symphony.values.registry.Money'>
    """
    _enter(described((kind, *more), encode, decode, name))
    return kind


def described(
    kinds: tuple[type, ...],
    encode: Callable[[Any], Any] | None,
    decode: Callable[[Any], Any] | None,
    name: str,
    plugin: str = "",
) -> list[Registered]:
    """The classes as they would be registered; raises as ``register_types``, and registers nothing."""
    if len(kinds) > 1 and (encode or decode or name):
        raise InvalidInput("a codec and a name are for one class", hint="call it once for each class")
    if (encode is None) != (decode is None):
        raise InvalidInput(f"{kinds[0].__qualname__}: encode and decode belong together")
    return [_checked(kind, encode, decode, name, plugin) for kind in kinds]


def adopt_types(plugin: str, types: Iterable[Registered]) -> None:
    """Register what a plugin gives, in place of what it gave before; all of it, or none.

    Raises
    ------
    Conflict
        Another plugin gives one of the classes, or another class has one of the names.
    """
    types = list(types)
    for added in types:
        known = _BY_KIND.get(added.kind)
        if known is not None and known.plugin not in ("", plugin):
            raise Conflict(f"plugin {known.plugin} registers the class {added.kind.__qualname__} already")
        _refuse_name(added)
    withdraw_types(plugin)
    _enter(types)


def withdraw_types(plugin: str) -> None:
    """Forget what a plugin gave; values that were recorded need it again."""
    for registered in [known for known in _BY_NAME.values() if known.plugin == plugin]:
        del _BY_NAME[registered.name]
        if _BY_KIND.get(registered.kind) is registered:
            del _BY_KIND[registered.kind]


def _enter(types: Iterable[Registered]) -> None:
    for registered in types:
        _BY_KIND[registered.kind] = registered
        _BY_NAME[registered.name] = registered


def _checked(
    kind: type,
    encode: Callable[[Any], Any] | None,
    decode: Callable[[Any], Any] | None,
    name: str,
    plugin: str,
) -> Registered:
    from symphony.values.codec_extensions import crosses_anyway

    if not isinstance(kind, type):
        raise InvalidInput(f"expected a class to register, got {type(kind).__name__}")
    if crosses_anyway(kind):
        raise Conflict(f"{kind.__qualname__} crosses the bridge by itself; its codec is Symphony's own")
    if encode is None and not issubclass(kind, Enum) and family_of(kind) is None:
        raise InvalidInput(
            f"{kind.__qualname__} has no fields to cross by",
            hint="give encode and decode, or make it a dataclass",
        )
    given = f"{plugin}:{kind.__qualname__}" if plugin else f"{kind.__module__}.{kind.__qualname__}"
    registered = Registered(kind, name or given, encode, decode, plugin)
    _refuse_name(registered)
    return registered


def _refuse_name(added: Registered) -> None:
    known = _BY_NAME.get(added.name)
    if known is not None and known.kind is not added.kind and not _same_source(known.kind, added.kind):
        by = f", by plugin {known.plugin}" if known.plugin else ""
        raise Conflict(f"the name {added.name!r} already stands for {known.kind!r}{by}")


def _same_source(old: type, new: type) -> bool:
    """A module that is loaded anew makes its classes anew; the newer ones take the place of the others."""
    return (old.__module__, old.__qualname__) == (new.__module__, new.__qualname__)


def registered_kind(kind: type) -> Registered | None:
    """What is known about a class itself, not about its bases."""
    return _BY_KIND.get(kind)


def registered_name(name: str) -> Registered | None:
    """The class that a record names."""
    return _BY_NAME.get(name)
