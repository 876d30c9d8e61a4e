"""The Python environment that plugins are installed into: whether it may be changed, and by which installer.

Looks only; nothing is installed and no plugin is imported.
"""

from __future__ import annotations

import configparser
import fcntl
import importlib.util
import os
import shutil
import site
import sys
import sysconfig
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from symphony.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEW_ENVIRONMENT = "make an environment of your own: python3 -m venv ENV, then install symphony-host into it"


@contextmanager
def held(note: Callable[[str], None]) -> Iterator[None]:
    """Keep others from installing into this environment meanwhile, whatever their home; wait for who does."""
    folder = os.open(Path(sysconfig.get_path("purelib")), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note("waiting for another installation into this environment")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def check() -> None:
    """Raises ``Refused``, with the reason, where nothing can or may be installed."""
    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    own = sys.prefix != sys.base_prefix  # a virtual environment is nobody else's
    if not own and marker.is_file():
        raise Refused(
            f"{sys.prefix} is externally managed ({_reason(marker)}): plugins would go between its packages",
            hint=NEW_ENVIRONMENT,
        )
    folder = Path(sysconfig.get_path("purelib"))
    if not own and site.ENABLE_USER_SITE and not os.access(folder, os.W_OK):
        folder = Path(site.getusersitepackages())  # where pip goes then
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(there, os.W_OK):
        read_only = os.statvfs(there).f_flag & os.ST_RDONLY
        reason = "its file system is read-only" if read_only else "you may not write to it"
        raise Refused(f"nothing can be installed into {folder}: {reason}", hint=NEW_ENVIRONMENT)


def _reason(marker: Path) -> str:
    """The first line that the environment's keeper wrote for people."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(marker.read_text(encoding="utf-8", errors="replace"))
        lines = parser.get("externally-managed", "Error").strip().splitlines()
    except (OSError, configparser.Error):
        lines = []
    return lines[0].strip() if lines else str(marker)


def installer() -> list[str]:
    """The command that installs here: ``uv pip``, or pip, its own or one that serves it from outside.

    Raises ``Refused`` where there is none.
    """
    if is_uvs():
        return [uv() or _no_uv(), "pip"]
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    found = uv()
    if found is not None:
        return [found, "pip"]
    outside = shutil.which("pip") or shutil.which("pip3")
    if outside is not None:
        return [outside, "--python", sys.executable]
    raise Refused(
        f"{sys.prefix} has no pip, and neither pip nor uv is on PATH", hint=f"{sys.executable} -m ensurepip"
    )


def is_uvs() -> bool:
    """Whether uv made this virtual environment (its ``pyvenv.cfg`` says so)."""
    try:
        text = (Path(sys.prefix) / "pyvenv.cfg").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(line.partition("=")[0].strip() == "uv" for line in text.splitlines())


def uv() -> str | None:
    """uv's path: on PATH, or beside this Python."""
    beside = Path(sys.executable).with_name("uv")
    return shutil.which("uv") or (str(beside) if beside.is_file() else None)


def _no_uv() -> str:
    raise Refused(
        "this environment was made by uv, and uv is not on PATH", hint="install uv, or put it on PATH"
    )
