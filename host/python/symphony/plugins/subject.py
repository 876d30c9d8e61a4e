"""What a check is about: where a plugin lies, what it says about itself, and how it is imported."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from symphony.errors import InvalidInput, NotFound
from symphony.home import absolute
from symphony.plugins import discovery, wheel
from symphony.plugins.names import canonical, did_you_mean
from symphony.plugins.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Subject:
    """A plugin to be looked at.

    ``root`` is the folder that its modules are imported from, and that its places are shown relative to;
    None where it is installed. ``problems`` are those of its metadata.
    """

    name: str
    version: str
    kind: str
    modules: tuple[str, ...] = ()
    requires_python: str = ""
    requires: tuple[str, ...] = ()
    root: Path | None = None
    file: Path | None = None
    wheel: Path | None = None
    problems: tuple[Problem, ...] = ()

    @property
    def path(self) -> list[Path]:
        """Folders that come first on the module path."""
        return [self.root] if self.root and self.file is None else []

    @property
    def own(self) -> list[Path]:
        """Where its own code lies."""
        if self.file:
            return [self.file]
        return discovery.roots(self.modules) if self.root is None else _roots(self.root, self.modules)

    def sources(self) -> list[Path]:
        """All its Python files."""
        return [
            file for root in self.own for file in (sorted(root.rglob("*.py")) if root.is_dir() else [root])
        ]

    def entry_sources(self) -> list[Path]:
        """The files of its entry modules."""
        found = []
        for module in self.modules:
            parts = module.split(".")
            for root in self.own:
                base = root.parent.joinpath(*parts)
                options = (base / "__init__.py", base.with_suffix(".py"))
                found += [file for file in options if file.is_file() and file not in found]
        return [self.file] if self.file else found

    def shown(self, problem: Problem) -> Problem:
        """The problem with its place relative to the root: a wheel's was in a temporary folder."""
        if self.wheel is None or problem.at is None:
            return problem
        return replace(problem, at=problem.at.removeprefix(f"{self.root}{os.sep}"))


def subject_of(target: str) -> Subject:
    """What NAME or PATH means.

    Raises
    ------
    NotFound
        Neither a file nor a plugin of this name is there.
    InvalidInput
        The file or folder is no plugin.
    """
    path = absolute(target)
    looks_like_path = os.sep in target or target.startswith((".", "~")) or target.endswith((".py", ".whl"))
    if path.is_dir() and (looks_like_path or (path / "pyproject.toml").is_file()):
        return _project(path)
    if path.is_file() and path.suffix == ".py":
        candidate = discovery.file_candidate(path)
        return Subject(candidate.name, "", "file", root=path.parent, file=path)
    if path.is_file() and path.suffix == ".whl":
        return _wheel(path)
    if looks_like_path:
        if path.exists():
            raise InvalidInput(f"{path} is no plugin", hint="name a .py file, a project's folder or a wheel")
        raise NotFound(f"there is no file or folder {path}")
    known = discovery.installed()
    try:
        candidate = discovery.find(target)
    except NotFound as missing:
        missing.hint = did_you_mean(target, known, "symphony plugins list, or give a path: ./NAME")
        raise
    return Subject(
        candidate.name,
        candidate.version,
        "installed",
        candidate.modules,
        candidate.requires_python,
        candidate.requires,
    )


def _wheel(path: Path) -> Subject:
    facts = wheel.of_wheel(path)
    problems = () if facts.modules else (_no_entry_point("its entry_points.txt"),)
    return Subject(
        facts.listed_name,
        facts.version,
        "wheel",
        facts.modules,
        facts.requires_python,
        facts.requires,
        wheel=path,
        problems=problems,
    )


def _no_entry_point(where: str) -> Problem:
    return Problem(
        "entry_point",
        f"it has no entry point in the group 'symphony' ({where}), so that no host finds it",
        hint='[project.entry-points.symphony] NAME = "MODULE"',
    )


def _project(folder: Path) -> Subject:
    """A project's folder, by its ``pyproject.toml``; what a build backend would add is not known."""
    import tomllib

    file = folder / "pyproject.toml"
    if not file.is_file():
        raise InvalidInput(f"{folder} has no pyproject.toml", hint="name the folder of a Python project")
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file}: {error}", hint="mend the file") from error
    project: dict[str, Any] | None = data.get("project")
    if project is None:
        raise InvalidInput(f"{file} has no table [project]", hint="build a wheel, and check that")
    name = str(project.get("name", folder.name))
    entries: dict[str, str] = project.get("entry-points", {}).get(discovery.GROUP, {})
    modules = tuple(dict.fromkeys(entries[key].partition(":")[0].strip() for key in sorted(entries)))
    problems = []
    if not modules and "entry-points" not in project.get("dynamic", ()):
        problems.append(_no_entry_point(str(file)))
    requires = tuple(project.get("dependencies", ()))
    if not any(canonical(text).startswith("symphony-host") for text in requires):
        hint = 'dependencies = ["symphony-host"]'
        problems.append(Problem("dependency", "it does not depend on symphony-host", str(file), hint))
    return Subject(
        name,
        str(project.get("version", "")),
        "project",
        modules,
        str(project.get("requires-python", "")),
        requires,
        root=_import_root(folder, modules),
        problems=tuple(problems),
    )


def _import_root(folder: Path, modules: Sequence[str]) -> Path:
    """The folder that holds the modules: the project's own, or its ``src``."""
    return folder / "src" if _roots(folder / "src", modules) else folder


def _roots(folder: Path, modules: Sequence[str]) -> list[Path]:
    """The folder or file of each top-level module."""
    found: list[Path] = []
    for top in dict.fromkeys(module.partition(".")[0] for module in modules):
        package, file = folder / top, folder / f"{top}.py"
        found += [package] if package.is_dir() else [file] if file.is_file() else []
    return found
