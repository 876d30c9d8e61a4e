"""A decoded dataclass, NamedTuple or Enum whose class is not known yet.

Decoding never imports, so the codec gives these; ``values.coerce`` turns them into what a type hint names.
"""

from __future__ import annotations

from typing import Any


class Record:
    """Fields of an object of a class that only a type hint can name.

    Example
    -------
    >>> Record("Point", {"x": 1}).fields["x"]
    1
    """

    __slots__ = ("fields", "type_name")

    def __init__(self, type_name: str, fields: dict[str, Any]) -> None:
        self.type_name = type_name
        self.fields = fields

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self.fields.items())
        return f"Record {self.type_name}({inside})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return self.type_name == other.type_name and self.fields == other.fields

    def __hash__(self) -> int:
        return hash((self.type_name, tuple(self.fields)))
