"""``symphony plugins dev``: use a plugin from its source, and check and reload it whenever a file changes.

Files are looked at four times a second by name, time and size; nothing of the plugin runs in this process.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from symphony import client
from symphony.errors import InvalidInput, SymphonyError
from symphony.home import absolute
from symphony.plugins import cache, discovery
from symphony.plugins.check import check
from symphony.plugins.installer import Installer
from symphony.plugins.names import canonical
from symphony.plugins.subject import Subject, subject_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from symphony.home import Home
    from symphony.plugins.check import Checked
    from symphony.plugins.installer import IndexOptions

LOOK: Final = 0.25
WATCHED: Final = (".py", ".so", ".dylib", ".toml")
NATIVE: Final = (".rs", ".c", ".h")
SKIPPED: Final = ("target", "dist", "build", "node_modules", "__pycache__")
Stamps = dict[Path, tuple[int, int]]


@dataclass(frozen=True)
class News:
    """One look at a plugin: the files that changed, what a check found, and whether a host took it over."""

    changed: list[Path]
    checked: Checked | None = None
    error: SymphonyError | None = None
    reloaded: bool = False


def from_source(home: Home, target: str, options: IndexOptions, note: Callable[[str], None]) -> Subject:
    """The plugin of a file or a project; a project is installed editable, unless it is already.

    Raises
    ------
    InvalidInput
        It is an installed plugin, or a wheel.
    SymphonyError
        What the installer says.
    """
    subject = subject_of(target)
    if subject.kind not in ("file", "project"):
        raise InvalidInput(
            f"{target} is not the source of a plugin", hint="name a .py file or a project's folder"
        )
    if subject.kind == "project" and not _is_editable(subject):
        folder = project_folder(subject, target)
        note(f"installing {folder} editable")
        Installer(options).install_editable(folder)
        cache.forget(home, canonical(subject.name))
        restart(home)  # an interpreter that runs already would not find it
    return subject


def project_folder(subject: Subject, target: str) -> Path:
    """The folder with the project's ``pyproject.toml``, or that of the file."""
    return subject.file.parent if subject.file else absolute(target)


def _is_editable(subject: Subject) -> bool:
    known = discovery.installed().get(canonical(subject.name))
    if known is None or subject.root is None:
        return False
    return any(root.is_relative_to(subject.root) for root in discovery.roots(known.modules))


def watch(home: Home, target: str, subject: Subject) -> Iterator[News]:
    """One look now, and one after each change, without end."""
    folder = project_folder(subject, target)
    stamps = _stamps(folder, subject)
    yield _looked_at(home, target, subject, [])
    while True:
        time.sleep(LOOK)
        now = _stamps(folder, subject)
        if now == stamps:
            continue
        while (settled := _after_a_moment(folder, subject)) != now:  # an editor writes several files in a row
            now = settled
        changed = sorted(path for path in {*now, *stamps} if now.get(path) != stamps.get(path))
        stamps = now
        yield _looked_at(home, target, subject, changed)


def _after_a_moment(folder: Path, subject: Subject) -> Stamps:
    time.sleep(LOOK / 5)
    return _stamps(folder, subject)


def _looked_at(home: Home, target: str, subject: Subject, changed: list[Path]) -> News:
    if changed and all(path.suffix in NATIVE for path in changed):
        return News(changed)
    try:
        checked = check(home, target)
        sound = not any(fault.level in ("broken", "incompatible", "conflict") for fault in checked.faults)
        reloaded = bool(changed) and sound and subject.kind == "project" and restart(home)
    except SymphonyError as error:
        return News(changed, error=error)
    return News(changed, checked, reloaded=reloaded)


def restart(home: Home) -> bool:
    """Give a running host a fresh interpreter, since Python cannot unload a module. Whether one runs."""
    connection = client.connect(home)
    if connection is None:
        return False
    with connection:
        connection.request("conductor.restart", timeout=60.0)
    return True


def _stamps(folder: Path, subject: Subject) -> Stamps:
    """Time and size of each file that matters."""
    found: Stamps = {}
    for path in [subject.file] if subject.file else _files(folder):
        try:
            stat = path.stat()
        except OSError:  # it has just been removed
            continue
        found[path] = (stat.st_mtime_ns, stat.st_size)
    return found


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in SKIPPED]
        for name in files:
            if name.endswith((*WATCHED, *NATIVE)):
                yield Path(place, name)
