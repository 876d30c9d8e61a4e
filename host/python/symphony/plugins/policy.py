"""``policy.toml``: which plugins may be used and where they may come from. One gate for install and load.

Up to three files count, the computer's, the environment's and the home's; each can only forbid more. A file
that cannot be understood stops everything that would use a plugin: a policy is never skipped.
"""

from __future__ import annotations

import fnmatch
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from symphony.errors import InvalidInput, Refused
from symphony.plugins.names import canonical, did_you_mean
from symphony.plugins.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from symphony.home import Home

COMPUTER: Final = Path("/etc/symphony/policy.toml")
_KEYS: Final[dict[str, dict[str, type]]] = {
    "plugins": {"allow": list, "block": list},
    "sources": {"indexes": list, "files": bool, "builds": bool},
}


@dataclass(frozen=True)
class Rules:
    """What one file says.

    Parameters
    ----------
    allow:
        Patterns of names; where there are any, nothing else is used.
    block:
        Patterns of names that are not used.
    indexes:
        The only package indexes and link folders that plugins are installed from; the first is the default.
    files:
        Whether plugins may come from files: wheels, folders, ``--plugin FILE``.
    builds:
        Whether a source distribution or folder may be built, which runs its code.
    """

    path: Path
    allow: tuple[str, ...] | None = None
    block: tuple[str, ...] = ()
    indexes: tuple[str, ...] | None = None
    files: bool = True
    builds: bool = True

    def summary(self) -> str:
        """What it forbids, in a few words."""
        parts = [f"allow {', '.join(self.allow) or 'nothing'}"] if self.allow is not None else []
        parts += [f"block {', '.join(self.block)}"] if self.block else []
        parts += [f"indexes {', '.join(self.indexes) or 'none'}"] if self.indexes is not None else []
        parts += [f"no {what}" for what, may in (("files", self.files), ("builds", self.builds)) if not may]
        return "; ".join(parts) or "nothing is forbidden"


@dataclass(frozen=True)
class Policy:
    """All rules that hold; without any, everything is allowed."""

    rules: tuple[Rules, ...] = ()

    def judge(self, name: str, *, file: bool = False) -> Problem | None:
        """Why a plugin of this name may not be used, if so; ``file``: it is a plugin file."""
        for rule in self.rules:
            hit = next((pattern for pattern in rule.block if _matches(name, pattern)), None)
            if hit is not None:
                return _forbidden(rule, f"blocks {hit}" if hit != name else "blocks it")
            if rule.allow is not None and not any(_matches(name, pattern) for pattern in rule.allow):
                return _forbidden(rule, f"allows {', '.join(rule.allow) or 'nothing'} only")
            if file and not rule.files:
                return _forbidden(rule, "allows no plugin files")
        return None

    def check(self, name: str) -> None:
        """Raises ``Refused`` for a plugin that may not be used."""
        problem = self.judge(canonical(name))
        if problem is not None:
            raise Refused(f"{name}: {problem.message}", hint=problem.hint)

    def check_file(self, spec: str) -> None:
        """Raises ``Refused`` where plugins may not come from files."""
        self._demand(spec, "files", "plugins from files")

    def check_build(self, spec: str) -> None:
        """Raises ``Refused`` where nothing may be built."""
        self._demand(spec, "builds", "builds, which run the code of what is built")

    def _demand(self, spec: str, key: str, what: str) -> None:
        for rule in self.rules:
            if not getattr(rule, key):
                raise Refused(f"{spec}: {rule.path} allows no {what}", hint=_hint(rule))

    def indexes(self, given: Sequence[str]) -> tuple[str, ...] | None:
        """The indexes to which installs are bound; None: any. Raises ``Refused`` for one given beside."""
        bound: tuple[str, ...] | None = None
        for rule in self.rules:
            if rule.indexes is None:
                continue
            known = [_address(index) for index in rule.indexes]
            foreign = next((place for place in given if _address(place) not in known), None)
            if foreign is not None:
                only = ", ".join(rule.indexes) or "none"
                raise Refused(
                    f"{rule.path} allows no packages from {_address(foreign)}", hint=f"allowed: {only}"
                )
            bound = tuple(i for i in rule.indexes if bound is None or _address(i) in map(_address, bound))
        return bound


def places(home: Home) -> list[Path]:
    """Where a policy may lie: of the computer, of the environment, of the home."""
    return [COMPUTER, Path(sys.prefix) / "etc" / "symphony" / "policy.toml", home.policy]


def read(home: Home) -> Policy:
    """The policy that holds for a home. Raises ``InvalidInput`` naming what is wrong with a file."""
    return Policy(tuple(_read(path) for path in dict.fromkeys(places(home)) if path.exists()))


def _read(path: Path) -> Rules:
    import tomllib

    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InvalidInput(f"{path}: {error}", hint="mend the file") from error
    for table, keys in data.items():
        _known(path, table, _KEYS, "table")
        if not isinstance(keys, dict):
            raise InvalidInput(f"{path}: {table} is not a table", hint=f"write [{table}]")
        for key, value in keys.items():
            _known(path, key, _KEYS[table], f"key in [{table}]:")
            _right(f"{path}: {table}.{key}", value, _KEYS[table][key])
    names, sources = data.get("plugins", {}), data.get("sources", {})
    return Rules(
        path,
        _patterns(names["allow"]) if "allow" in names else None,
        _patterns(names.get("block", [])),
        tuple(sources["indexes"]) if "indexes" in sources else None,
        sources.get("files", True),
        sources.get("builds", True),
    )


def _known(path: Path, name: str, known: dict[str, Any], what: str) -> None:
    if name not in known:
        hint = did_you_mean(name, known, f"known: {', '.join(known)}")
        raise InvalidInput(f"{path}: unknown {what} {name!r}", hint=hint)


def _right(place: str, value: object, kind: type) -> None:
    if kind is list and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return
    if kind is bool and isinstance(value, bool):
        return
    raise InvalidInput(f"{place}: expected {'a list of names' if kind is list else 'true or false'}")


def _patterns(names: list[str]) -> tuple[str, ...]:
    return tuple(canonical(name) for name in names)


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern)


def _forbidden(rule: Rules, what: str) -> Problem:
    return Problem("policy", f"{rule.path} {what}", hint=_hint(rule))


def _hint(rule: Rules) -> str:
    return f"whoever keeps {rule.path} decides"


def _address(index: str) -> str:
    """An index or folder without credentials and without the slash at its end."""
    from symphony.plugins.credentials import without_credentials

    return without_credentials(index).rstrip("/")
