"""Classes with named fields, whoever made them: the fields of a value, and a value made of fields.

msgspec, attrs and pydantic are known by marks on the classes; none of them is imported here.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BUILTINS = (str, int, float, complex, bytes, bytearray, list, dict, set, frozenset)


@dataclass(frozen=True)
class Field:
    """One field: whether a constructor takes it, must get it, and what it is without being given."""

    init: bool = True
    required: bool = False
    default: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Family:
    """One kind of such classes.

    ``take`` gives the fields of a value, ``fields`` those of a class, ``make`` calls the class as an author
    would, ``restore`` makes a value as it once was: its checks have run, and do not run again where that can
    be helped. ``takes_more`` tells whether values of a class may have fields that the class does not know.
    """

    take: Callable[[Any], dict[str, Any]]
    fields: Callable[[Any], Mapping[str, Field]]
    make: Callable[[Any, dict[str, Any]], Any]
    restore: Callable[[Any, dict[str, Any]], Any]
    takes_more: Callable[[Any], bool] = lambda _kind: False


def family_of(kind: type) -> Family | None:
    """The family of a class, or None when it has no fields, or content beside them."""
    if issubclass(kind, tuple):
        return NAMED_TUPLE if hasattr(kind, "_fields") else None
    if issubclass(kind, _BUILTINS):
        return None
    if hasattr(kind, "__pydantic_fields__") and "pydantic" in sys.modules and _is_model(kind):
        return PYDANTIC
    if dataclasses.is_dataclass(kind):
        return DATACLASS
    if hasattr(kind, "__attrs_attrs__"):
        return ATTRS
    if hasattr(kind, "__struct_fields__"):
        return MSGSPEC
    return None


def _call(kind: Any, fields: dict[str, Any]) -> Any:
    return kind(**fields)


def _set(kind: Any, fields: dict[str, Any]) -> Any:
    """An object with these fields: no constructor runs, frozen and slotted classes are no obstacle."""
    made: Any = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def _dataclass_fields(kind: Any) -> Mapping[str, Field]:
    found = {}
    for field in dataclasses.fields(kind):
        default: Callable[[], Any] | None = None
        if field.default is not dataclasses.MISSING:
            default = _constant(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            default = field.default_factory
        found[field.name] = Field(field.init, field.init and default is None, default)
    return found


def _take_dataclass(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(type(value))}


DATACLASS = Family(_take_dataclass, _dataclass_fields, _call, _set)


def _named_tuple_fields(kind: Any) -> Mapping[str, Field]:
    defaults = kind._field_defaults
    return {
        name: Field(True, name not in defaults, _constant(defaults[name]) if name in defaults else None)
        for name in kind._fields
    }


NAMED_TUPLE = Family(
    lambda value: dict(zip(type(value)._fields, tuple.__iter__(value), strict=True)),
    _named_tuple_fields,
    _call,
    _call,
)


def _attrs_default(attribute: Any) -> Callable[[], Any] | None:
    default = attribute.default
    if hasattr(default, "factory"):
        # One that takes the object itself cannot be asked for beforehand.
        return None if default.takes_self else default.factory
    return None if "NOTHING" in repr(default) else _constant(default)


def _attrs_fields(kind: Any) -> Mapping[str, Field]:
    return {
        attribute.name: Field(
            attribute.init, attribute.init and "NOTHING" in repr(attribute.default), _attrs_default(attribute)
        )
        for attribute in kind.__attrs_attrs__
    }


def _make_attrs(kind: Any, fields: dict[str, Any]) -> Any:
    aliases = {attribute.name: attribute.alias for attribute in kind.__attrs_attrs__}
    return kind(**{aliases[name]: value for name, value in fields.items()})


ATTRS = Family(
    lambda value: {
        attribute.name: getattr(value, attribute.name) for attribute in type(value).__attrs_attrs__
    },
    _attrs_fields,
    _make_attrs,
    _set,
)


def _msgspec_fields(kind: Any) -> Mapping[str, Field]:
    msgspec = sys.modules["msgspec"]
    found = {}
    for field in msgspec.structs.fields(kind):
        default: Callable[[], Any] | None = None
        if field.default is not msgspec.NODEFAULT:
            default = _constant(field.default)
        elif field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory
        found[field.name] = Field(True, default is None, default)
    return found


MSGSPEC = Family(
    lambda value: {name: getattr(value, name) for name in type(value).__struct_fields__},
    _msgspec_fields,
    _call,
    _call,
)


def _is_model(kind: type) -> bool:
    return issubclass(kind, sys.modules["pydantic"].BaseModel)


def _pydantic_fields(kind: Any) -> Mapping[str, Field]:
    return {
        name: Field(
            True,
            field.is_required(),
            None if field.is_required() else partial(field.get_default, call_default_factory=True),
        )
        for name, field in kind.__pydantic_fields__.items()
    }


def _take_model(value: Any) -> dict[str, Any]:
    return {**vars(value), **(value.__pydantic_extra__ or {})}


PYDANTIC = Family(
    _take_model,
    _pydantic_fields,
    lambda kind, fields: kind.model_validate(fields),
    lambda kind, fields: kind.model_construct(**fields),
    lambda kind: kind.model_config.get("extra") == "allow",
)
