"""Which plugins are there: distributions with an entry point in the group ``symphony``, and single files.

Reads metadata and file times only; it never imports a plugin.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import json
import math
import sys
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final

from symphony.errors import InvalidInput, NotFound
from symphony.home import absolute
from symphony.plugins import LOCAL_FILE as LOCAL_FILE
from symphony.plugins.names import canonical
from symphony.plugins.namespace import LOCAL
from symphony.plugins.record import Record
from symphony.plugins.registry import check_name
from symphony.plugins.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GROUP: Final = "symphony"
ALL: Final = Selection()


@dataclass(frozen=True)
class Candidate:
    """One plugin that was found. ``file`` is set for a file plugin, ``modules`` for a distribution.

    ``installed`` is when its metadata was put there, in seconds since 1970. ``content`` is what a file had
    when it was looked at: that is what gets checked and executed, whatever it has later.
    ``record`` has the files of a distribution that an installer copied; an editable one and a file have none.
    """

    name: str
    version: str
    modules: tuple[str, ...]
    fingerprint: str
    requires_python: str = ""
    requires: tuple[str, ...] = ()
    file: Path | None = None
    record: Record | None = None
    installed: float = math.inf
    content: bytes = field(default=b"", repr=False, compare=False)

    @property
    def sha256(self) -> str:
        """Of a file's content."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def target(self) -> str:
        """What the probe is called with."""
        return str(self.file) if self.file else self.name


def installed(selection: Selection = ALL) -> dict[str, Candidate]:
    """Every distribution of the selection with an entry point in the group, by canonical name."""
    if selection.only == frozenset():
        return {}
    importlib.invalidate_caches()
    found: dict[str, Candidate] = {}
    for entry in entry_points(group=GROUP):
        name = canonical(entry.dist.name) if entry.dist else ""
        if entry.dist and name not in found and selection.takes(name):
            found[name] = _candidate(name, entry.dist)
    return found


def find(name: str) -> Candidate:
    """One installed plugin, for the probe. Raises ``NotFound``."""
    name = canonical(name)
    for dist in distributions(name=name):
        if any(entry.group == GROUP for entry in dist.entry_points):
            return _candidate(name, dist)
    raise NotFound(f"no plugin {name!r} is installed", hint="symphony plugins list")


def file_candidate(path: Path) -> Candidate:
    """A file as a plugin; its stem is the name. Raises ``InvalidInput``."""
    path = absolute(path)
    if not path.is_file():
        raise InvalidInput(f"there is no plugin file {path}")
    if path.suffix != ".py":
        raise InvalidInput(f"{path} is no plugin file: its name does not end with .py")
    name = path.stem
    if path.name == LOCAL_FILE:
        name, path = LOCAL, real_folder(path)
    check_name(name, str(path))
    return Candidate(name, "", (), sources_fingerprint([path]), file=path, content=path.read_bytes())


def real_folder(path: Path) -> Path:
    """The path by its folder's real name, so that one file is trusted once."""
    return path.parent.resolve() / path.name


def _candidate(name: str, dist: Distribution) -> Candidate:
    modules = modules_of(dist.entry_points)
    text = dist.read_text("RECORD")
    record = None if text is None or _editable(dist) else Record.of(text, Path(str(dist.locate_file(""))))
    fingerprint = record.stamp() if record else sources_fingerprint(source_files(modules))
    return Candidate(
        name,
        dist.version,
        modules,
        fingerprint,
        requires_python=str(dist.metadata.json.get("requires_python", "")),
        requires=tuple(dist.requires or ()),
        installed=_installed(dist),
        record=record,
    )


def _installed(dist: Distribution) -> float:
    # The folder's own time: its files keep the times that an installer's cache gave them.
    folder = getattr(dist, "_path", None)
    try:
        return folder.stat().st_mtime if isinstance(folder, Path) else math.inf
    except OSError:
        return math.inf


def modules_of(entries: Iterable[EntryPoint]) -> tuple[str, ...]:
    """The modules a distribution names in the group, in the order of its entry points' names."""
    named = sorted((entry.name, entry.module) for entry in entries if entry.group == GROUP)
    return tuple(dict.fromkeys(module for _, module in named))


def _editable(dist: Distribution) -> bool:
    try:
        direct = json.loads(dist.read_text("direct_url.json") or "{}")
    except ValueError:
        return False
    return bool(direct.get("dir_info", {}).get("editable"))


def roots(modules: Sequence[str]) -> list[Path]:
    """The folder or file of each top-level module; finding a top-level module runs none of its code."""
    found: list[Path] = []
    for top in dict.fromkeys(module.partition(".")[0] for module in modules):
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            continue
        if spec is None:
            continue
        if spec.submodule_search_locations:
            found.extend(Path(folder) for folder in spec.submodule_search_locations)
        elif spec.origin:
            found.append(Path(spec.origin))
    return found


def source_files(modules: Sequence[str]) -> list[Path]:
    """All .py files below the top-level modules."""
    files: list[Path] = []
    for root in roots(modules):
        files.extend(sorted(root.rglob("*.py")) if root.is_dir() else [root])
    return files


def sources_fingerprint(files: Sequence[Path]) -> str:
    """Time and size of each file; an edit changes it without reading the files."""
    digest = hashlib.sha256()
    for file in files:
        try:
            found = file.stat()
        except OSError:
            continue
        digest.update(f"{file}\0{found.st_mtime_ns}\0{found.st_size}\n".encode())
    return digest.hexdigest()


def environment_stamp() -> str:
    """Changes whenever something is installed or removed, so that a failed probe is tried again then."""
    stamps = []
    for folder in sys.path:
        try:
            stamps.append(f"{folder}\0{Path(folder).stat().st_mtime_ns}")
        except OSError:
            continue
    return hashlib.sha256("\n".join(stamps).encode()).hexdigest()[:16]


def declared_api(source: str) -> int | None:
    """The plugin API a module asks for (``symphony_api = 1`` at its top level), read without running it."""
    if "symphony_api" not in source:
        return None
    try:
        tree = ast.parse(source)
    # Nested too deeply, or, in CPython before 3.11.8, another thread parses at the same moment.
    except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError):
        return None
    for node in tree.body:
        if isinstance(node, ast.AnnAssign):
            targets: list[ast.expr] = [node.target]
        elif isinstance(node, ast.Assign):
            targets = node.targets
        else:
            continue
        named = any(isinstance(target, ast.Name) and target.id == "symphony_api" for target in targets)
        if named and isinstance(node.value, ast.Constant) and isinstance(node.value.value, int):
            return node.value.value
    return None


def entry_sources(candidate: Candidate) -> list[Path]:
    """The file of each entry module, found without importing its parents."""
    if candidate.file:
        return [candidate.file]
    files: list[Path] = []
    for module in candidate.modules:
        parts = module.split(".")[1:]
        for root in roots([module]):
            base = root.joinpath(*parts) if root.is_dir() else root
            options = [base / "__init__.py", base.with_suffix(".py")] if root.is_dir() else [root]
            files.extend(file for file in options if file.is_file())
    return files
