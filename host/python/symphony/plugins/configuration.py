"""The settings of plugins: tables ``[plugins.NAME]`` of a home's ``config.toml``, and what is said instead.

Reads them; what a setting means, and of which type it is, the plugin says in its hook ``configure``.
"""

from __future__ import annotations

import json
import tomllib
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from symphony.errors import ConversionError, InvalidInput
from symphony.plugins.names import canonical, did_you_mean, prefix
from symphony.values.coercion import Mismatch, Mode, converter
from symphony.values.families import family_of
from symphony.values.inputs import from_text
from symphony.values.structures import field_hints, typed_dict_fields
from symphony.values.type_names import type_name

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

PLUGINS: Final = "plugins."


class PluginConfig(Mapping[str, Any]):
    """The settings of one plugin; a mapping that cannot be changed, and ``read``, which checks them.

    Parameters
    ----------
    plugin:
        The plugin's name.
    table:
        What the file says.
    words:
        Text by key, as in ``--set``: it comes before the file, and its type is the hint's to say.
    file:
        Where the table stands; relative paths start from its folder.
    """

    def __init__(self, plugin: str, table: Mapping[str, Any], words: Mapping[str, str], file: Path) -> None:
        self.plugin: Final = plugin
        self._words = dict(words)
        self._file = file
        self._given = dict(table)
        self._table = dict(table)
        for key, text in words.items():
            inner, *parts = key.split(".")
            _put(self._table, [inner, *parts], _json_or_text(text))

    def read(self, kind: type[T]) -> T:
        """All settings as an object of ``kind``: a dataclass or another class with fields, or a TypedDict.

        Raises
        ------
        InvalidInput
            A key is unknown or missing, or its value is of another type; names file, key and closest key.

        Example
        -------
        >>> @dataclass
        ... class Settings:
        ...     url: str
        ...     timeout: float = 5.0
        >>> config.read(Settings).timeout
        5.0
        """
        hints, required, make = _fields(kind)
        for key in self._table:
            if key not in hints:
                hint = did_you_mean(key, hints, f"known: {', '.join(hints)}")
                raise InvalidInput(f"{self.place(key)}: no such setting", hint=hint)
        for key in sorted(required - set(self._table)):
            missing = f"{self._file}: {PLUGINS}{self.plugin}.{key}: missing, expected {type_name(hints[key])}"
            raise InvalidInput(missing, hint=f"[{PLUGINS}{self.plugin}] in that file, or --set")
        values = {key: self._converted(key, hints[key]) for key in self._table}
        try:
            made: T = make(values)
        except (TypeError, ValueError) as error:  # what the class itself says about them
            raise InvalidInput(f"{self._file}: {PLUGINS}{self.plugin}: {error}") from error
        return made

    def plain(self) -> dict[str, Any]:
        """What the constructor takes beside the name, as values that cross to another process."""
        return {"table": self._given, "words": self._words, "file": self._file}

    def place(self, key: str) -> str:
        """Where a setting was given, for an error."""
        given = any(word == key or word.startswith(f"{key}.") for word in self._words)
        where = "setting" if given else f"{self._file}:"
        return f"{where} {PLUGINS}{self.plugin}.{key}"

    def _converted(self, key: str, hint: Any) -> Any:
        mode = Mode(json=True, cwd=self._file.parent)
        try:
            if key in self._words:
                return from_text(self.place(key), hint, self._words[key], mode)
            return converter(hint)(self._table[key], mode)
        except ConversionError as error:
            raise InvalidInput(str(error)) from None
        except Mismatch as mismatch:
            raise InvalidInput(mismatch.message(self.place(key))) from None

    def __getitem__(self, key: str) -> Any:
        return self._table[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        return f"<settings of {self.plugin}: {', '.join(self._table) or 'none'}>"


class Configuration:
    """The tables of all plugins of a home.

    Parameters
    ----------
    home:
        The folder of ``config.toml``.
    words:
        KEY=VALUE words that come before the file; those that are not of a plugin are left out.

    Raises
    ------
    InvalidInput
        The file is no TOML, or ``plugins`` or one of its members is no table.
    """

    def __init__(self, home: Path, words: Iterable[str] = ()) -> None:
        self._file = home / "config.toml"
        self._words: dict[str, dict[str, str]] = {}
        for word in words:
            name, _, text = word.partition("=")
            if name.startswith(PLUGINS):
                _, plugin, key = name.split(".", 2)
                self._words.setdefault(canonical(plugin), {})[key] = text
        self._tables = self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            tables = tomllib.loads(self._file.read_text(encoding="utf-8")).get("plugins", {})
        except FileNotFoundError:
            return {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{self._file}: {error}") from error
        if not isinstance(tables, dict):
            raise InvalidInput(f"{self._file}: plugins: expected a table")
        for name, table in tables.items():
            if not isinstance(table, dict):
                raise InvalidInput(f"{self._file}: plugins.{name}: expected a table")
        return {canonical(name): table for name, table in tables.items()}

    def of(self, plugin: str) -> PluginConfig:
        """The settings of one plugin, also under its name less ``symphony-``."""
        names = dict.fromkeys((canonical(plugin), canonical(prefix(plugin))))
        tables = [self._tables[name] for name in names if name in self._tables]
        if len(tables) > 1:
            raise InvalidInput(f"{self._file}: {' and '.join(names)} in plugins are one plugin")
        words = {key: text for name in names for key, text in self._words.get(name, {}).items()}
        return PluginConfig(plugin, tables[0] if tables else {}, words, self._file)


def _fields(kind: Any) -> tuple[dict[str, Any], set[str], Callable[[dict[str, Any]], Any]]:
    """The hints of the fields, which must be given, and what makes an object of them."""
    if typing.is_typeddict(kind):
        hints, required = typed_dict_fields(kind)
        return hints, required, lambda values: kind(**values)
    family = family_of(kind)
    if family is None:
        raise InvalidInput(f"config.read: {kind.__name__} has no fields", hint="make it a dataclass")
    hints = field_hints(kind)
    fields = {name: field for name, field in family.fields(kind).items() if field.init}
    required = {name for name, field in fields.items() if field.required}
    return {name: hints.get(name, Any) for name in fields}, required, lambda values: family.make(kind, values)


def _put(table: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        inner = table.get(part)
        table[part] = table = dict(inner) if isinstance(inner, dict) else {}
    table[path[-1]] = value


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
