"""``plugins.toml``: which plugins are wished for, whether they are enabled, their order, whose names count.

People edit it by hand, so comments and layout are kept, and a key that means nothing is an error, never
ignored. Written under a lock and replaced in one go.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from symphony.errors import InvalidInput
from symphony.home import Home, unusable
from symphony.plugins.names import canonical, did_you_mean
from symphony.plugins.namespace import PREFERABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tomlkit import TOMLDocument

KEYS: Final[dict[str, type]] = {"requirement": str, "enabled": bool, "order": int}
TABLES: Final = ("plugins", "prefer")
HEADER: Final = (
    "The plugins of this home. Keys: requirement, enabled, order; [prefer] says whose a name is. "
    "Edit it, or: symphony plugins --help"
)


@dataclass(frozen=True)
class Wish:
    """One table of ``plugins.toml``. Without a requirement it only says enabled or order."""

    requirement: str | None = None
    enabled: bool = True
    order: int | None = None


def read(home: Home) -> dict[str, Wish]:
    """All wishes by canonical name; none without the file. Raises ``InvalidInput`` naming what is wrong."""
    return _parsed(home)[0]


def preferences(home: Home) -> dict[str, str]:
    """The table ``[prefer]``: a short name, ``kind:name`` or ``conductor``, and the plugin whose it is to be.

    Raises ``InvalidInput`` as ``read`` does.
    """
    return _parsed(home)[1]


def _parsed(home: Home) -> tuple[dict[str, Wish], dict[str, str]]:
    if not home.plugins_toml.exists():
        return {}, {}
    import tomllib

    path = home.plugins_toml
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InvalidInput(f"{path}: {error}", hint="mend the file, or move it away") from error
    for key in data:
        if key not in TABLES:
            raise InvalidInput(
                f"{path}: unknown key {key!r}",
                hint=did_you_mean(key, TABLES, "only [plugins.NAME] and [prefer]"),
            )
    return _checked(data.get("plugins", {}), path), _checked_preferences(data.get("prefer", {}), path)


def _checked(tables: Any, path: Path) -> dict[str, Wish]:
    if not isinstance(tables, dict):
        raise InvalidInput(f"{path}: plugins: expected tables", hint="write [plugins.NAME]")
    wishes: dict[str, Wish] = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise InvalidInput(f"{path}: plugins.{name} is not a table", hint=f"write [plugins.{name}]")
        for key, value in table.items():
            if key not in KEYS:
                hint = did_you_mean(key, KEYS, f"known keys: {', '.join(sorted(KEYS))}")
                raise InvalidInput(f"{path}: unknown key {key!r} in [plugins.{name}]", hint=hint)
            if type(value) is not KEYS[key]:
                wanted = KEYS[key].__name__
                raise InvalidInput(
                    f"{path}: plugins.{name}.{key}: expected {wanted}, got {type(value).__name__}"
                )
        if canonical(name) in wishes:
            raise InvalidInput(f"{path}: {canonical(name)!r} stands there twice, in different spellings")
        wishes[canonical(name)] = Wish(**table)
    return wishes


def _checked_preferences(table: Any, path: Path) -> dict[str, str]:
    if not isinstance(table, dict):
        raise InvalidInput(f"{path}: prefer: expected a table", hint="write [prefer]")
    for what, plugin in table.items():
        if not isinstance(plugin, str) or not plugin:
            raise InvalidInput(
                f"{path}: [prefer] {what}: expected the name of a plugin, got {plugin!r}",
                hint=f'write "{what}" = "PLUGIN"; a name with a dot or a colon needs its quotes',
            )
        check_preferable(what, f"{path}: [prefer] ")
    return {what: canonical(plugin) for what, plugin in table.items()}


def check_preferable(what: str, where: str = "") -> None:
    """Refuse what is no short name, ``kind:name`` or ``conductor``; ``where`` begins the message."""
    kind, colon, name = what.partition(":") if ":" in what else ("", "", what)
    if not name.strip():
        raise InvalidInput(f"{where}{what!r} names nothing", hint="a short name, KIND:NAME, or conductor")
    if colon and kind not in PREFERABLE:
        raise InvalidInput(
            f"{where}{what!r}: there is no kind {kind!r}",
            hint=did_you_mean(kind, PREFERABLE, f"KIND:NAME, with a kind of {', '.join(PREFERABLE)}"),
        )


def change(home: Home, name: str, **values: str | bool | int | None) -> None:
    """Set keys of one plugin's table, making it where it is missing; None removes a key."""

    def edit(document: TOMLDocument) -> None:
        import tomlkit

        tables = document.setdefault("plugins", tomlkit.table(is_super_table=True))
        table = tables.setdefault(_spelling(tables, name), tomlkit.table())
        for key, value in values.items():
            if value is None:
                table.pop(key, None)
            else:
                table[key] = value

    _edit(home, edit)


def remove(home: Home, name: str) -> None:
    """Forget one plugin's wish."""

    def edit(document: TOMLDocument) -> None:
        tables = document.get("plugins", {})
        tables.pop(_spelling(tables, name), None)

    _edit(home, edit)


def prefer(home: Home, what: str, plugin: str | None, *, instead_of: Iterable[str] = ()) -> None:
    """Let a plugin have a short name, ``kind:name`` or ``conductor``; None forgets who was to have it.

    ``instead_of`` are further keys that say something about the same name, and go.
    """

    def edit(document: TOMLDocument) -> None:
        import tomlkit

        for key in [what] if plugin is None else [key for key in instead_of if key != what]:
            document.get("prefer", {}).pop(key, None)
        if plugin is not None:
            document.setdefault("prefer", tomlkit.table())[what] = plugin

    _edit(home, edit)


def _spelling(tables: Any, name: str) -> str:
    """The key as the user wrote it, which may not be the canonical one."""
    return next((key for key in tables if canonical(key) == canonical(name)), canonical(name))


def _edit(home: Home, edit: Callable[[TOMLDocument], None]) -> None:
    import tomlkit

    home.ensure()
    with locked(home):
        read(home)  # a file that is wrong is reported, not rewritten
        try:
            document = tomlkit.parse(home.plugins_toml.read_text(encoding="utf-8"))
        except FileNotFoundError:
            document = tomlkit.document()
            document.add(tomlkit.comment(HEADER))
        edit(document)
        replace(home.plugins_toml, tomlkit.dumps(document))


@contextmanager
def locked(home: Home) -> Iterator[None]:
    """Hold the lock that every writer of the home's plugin files takes."""
    try:
        descriptor = os.open(home.path / ".plugins.guard", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unusable(home.path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def replace(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new content, never a part."""
    import tempfile  # only for those who write

    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise
    except OSError as error:
        raise unusable(path.parent, error) from error
