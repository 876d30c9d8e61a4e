"""Applies .gitignore files, nested as git nests them: the deepest file that has an opinion decides.

Reads nothing but .gitignore files; what is an ignored folder's inside is the walker's business.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pathspec

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Ignore:
    """The rules that hold in one folder: its own after those of the folders above.

    Each level is the folder's path relative to the walk's root (``""`` for the root itself, ``None`` with a
    prefix for folders above it) and the rules of the .gitignore in it.
    """

    levels: tuple[tuple[str, str, pathspec.GitIgnoreSpec], ...] = ()

    @classmethod
    def above(cls, root: Path) -> Ignore:
        """The rules that a repository around ``root`` has for it; none if it ignores ``root`` as a whole."""
        outer = [root, *root.parents]
        top = next((folder for folder in outer if (folder / ".git").exists()), root)
        rules = cls()
        for folder in reversed(outer[1 : outer.index(top) + 1]):
            spec = _read(folder)
            if spec is not None:
                rules = cls((*rules.levels, (root.relative_to(folder).as_posix() + "/", "", spec)))
        # Who names an ignored folder wants it indexed.
        return cls() if rules.matches("", folder=True) else rules

    def within(self, root: Path, folder: str) -> Ignore:
        """These rules and those of ``root/folder/.gitignore``."""
        spec = _read(root / folder)
        if spec is None:
            return self
        return Ignore((*self.levels, ("", folder + "/" if folder else "", spec)))

    def matches(self, path: str, *, folder: bool) -> bool:
        """Whether ``path``, relative to the walk's root, is ignored."""
        for prefix, base, spec in reversed(self.levels):
            name = (prefix + path.removeprefix(base)).rstrip("/") + ("/" if folder else "")
            include = spec.check_file(name).include
            if include is not None:
                return include
        return False


def _read(folder: Path) -> pathspec.GitIgnoreSpec | None:
    try:
        # As in git, a .gitignore that is a symbolic link does not count.
        descriptor = os.open(
            folder / ".gitignore", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        )
        with os.fdopen(descriptor, encoding="utf-8-sig", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    try:
        return pathspec.GitIgnoreSpec.from_lines(lines)
    except ValueError:
        return pathspec.GitIgnoreSpec.from_lines(line for line in lines if _is_pattern(line))


def _is_pattern(line: str) -> bool:
    try:
        pathspec.GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True
