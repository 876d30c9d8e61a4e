"""Read what a wheel says about itself, from the zip, so that nothing of it runs.

Only metadata and the entry modules' source as text; installing is the installer's part.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from email.parser import HeaderParser
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from symphony.errors import InvalidInput
from symphony.plugins.compatibility import judge_api, judge_metadata
from symphony.plugins.discovery import GROUP, modules_of
from symphony.plugins.names import canonical

if TYPE_CHECKING:
    from collections.abc import Callable

    from symphony.plugins.problem import Problem


@dataclass(frozen=True)
class WheelFacts:
    """What a distribution that is not installed yet says about itself, and why it does not fit, if so."""

    name: str
    version: str
    modules: tuple[str, ...]
    requires: tuple[str, ...]
    problem: Problem | None
    listed_name: str
    requires_python: str


def of_wheel(path: Path) -> WheelFacts:
    """The facts of a wheel file. Raises ``InvalidInput`` when it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            return _facts(names, lambda name: archive.read(name).decode("utf-8", "replace"))
    except (OSError, zipfile.BadZipFile, KeyError, StopIteration) as error:
        raise InvalidInput(f"{path} is not a wheel: {error or 'it has no .dist-info/METADATA'}") from error


def of_unpacked(folder: Path, dist: str) -> WheelFacts:
    """The facts of a distribution that was unpacked into ``folder`` (installed there without running it)."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    mine = [
        path for path in folder.glob("*.dist-info") if canonical(path.name.split("-")[0]) == canonical(dist)
    ]
    if not mine:
        raise InvalidInput(f"the installer unpacked no distribution {dist!r}")
    names = [
        path.relative_to(folder).as_posix()
        for path in files
        if path.parent in mine or not path.parent.name.endswith(".dist-info")
    ]
    return _facts(names, lambda name: (folder / name).read_text(encoding="utf-8", errors="replace"))


def _facts(names: list[str], read: Callable[[str], str]) -> WheelFacts:
    metadata = next(name for name in names if _in_dist_info(name, "METADATA"))
    headers = HeaderParser().parsestr(read(metadata))
    listed = next((name for name in names if _in_dist_info(name, "entry_points.txt")), None)
    modules = _modules(read(listed)) if listed else ()
    sources = [
        (Path(name), read(name))
        for module in modules
        for name in (f"{module.replace('.', '/')}.py", f"{module.replace('.', '/')}/__init__.py")
        if name in names
    ]
    requires_python = str(headers.get("Requires-Python", ""))
    requires = tuple(str(text) for text in headers.get_all("Requires-Dist", []))
    problem = judge_metadata(requires_python, requires) or judge_api(sources)
    name, version = str(headers["Name"]), str(headers["Version"])
    return WheelFacts(canonical(name), version, modules, requires, problem, name, requires_python)


def _in_dist_info(name: str, file: str) -> bool:
    path = PurePosixPath(name)
    return path.name == file and path.parent.name.endswith(".dist-info") and len(path.parts) == 2


def _modules(text: str) -> tuple[str, ...]:
    import configparser

    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    if not parser.has_section(GROUP):
        return ()
    return modules_of(EntryPoints(EntryPoint(name, value, GROUP) for name, value in parser.items(GROUP)))
