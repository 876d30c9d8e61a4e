"""The environment's own installer: uv where the environment is uv's, else pip.

It knows no plugin rules; it turns the installer's complaints into Symphony's errors and exit codes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from symphony.errors import (
    Conflict,
    Incompatible,
    IndexUnreachable,
    InvalidInput,
    NotFound,
    Refused,
    SymphonyError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

UNREACHABLE: Final = re.compile(
    r"Retrying \(Retry|NewConnectionError|Failed to establish a new connection|failure in name resolution"
    r"|Max retries exceeded|ProxyError|SSLError|ConnectTimeout|ReadTimeout|error sending request"
    r"|Could not connect|Failed to fetch|dns error|Name or service not known|Connection refused",
)
COMPLAINTS: Final[tuple[tuple[str, type[SymphonyError], str], ...]] = (
    (r"is not a trusted or secure host", Refused, "use https, or pip's own trusted-host setting"),
    (r"externally[- ]managed", Refused, "use a virtual environment: python -m venv .venv"),
    (
        r"Permission denied|Read-only file system|No space left",
        Refused,
        "this environment cannot be written to",
    ),
    (
        r"is not a supported wheel on this platform|requires a different Python|Requires-Python"
        r"|no wheels? with a matching"
        r"|not compatible with (?:this|the current) platform",
        Incompatible,
        "choose a release that fits this Python and platform",
    ),
    (
        # of uv, which adds that the requirements are unsatisfiable
        r"was not found in the (?:package registry|provided package locations)",
        NotFound,
        "check the name's spelling; a source distribution needs --allow-build",
    ),
    (
        r"ResolutionImpossible|conflicting dependencies|versions? .* (?:are|is) incompatible"
        r"|requirements are unsatisfiable",
        Conflict,
        "install them into separate environments, or choose other versions",
    ),
    (
        r"Invalid requirement|Expected package name|Failed to parse",
        InvalidInput,
        "SPEC is NAME, NAME==VERSION, a wheel or a folder",
    ),
    (
        r"No matching distribution|Could not find a version|there (?:are|is) no versions?",
        NotFound,
        "check the name's spelling; a source distribution needs --allow-build",
    ),
)


@dataclass(frozen=True)
class IndexOptions:
    """What is passed through to the installer."""

    index_url: str | None = None
    extra_index_url: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    pre: bool = False
    no_build_isolation: bool = False

    def arguments(self, *, uv: bool) -> list[str]:
        given: list[str] = []
        if self.index_url:
            given += ["--index-url", self.index_url]
        for url in self.extra_index_url:
            given += ["--extra-index-url", url]
        for place in self.find_links:
            given += ["--find-links", place]
        if self.no_index:
            given += ["--no-index"]
        if self.pre:
            given += ["--prerelease=allow"] if uv else ["--pre"]
        return given


class Installer:
    """Installs into the environment of ``sys.executable``."""

    def __init__(self, options: IndexOptions) -> None:
        self._options = options
        self._uv = uv_program() if environment_is_uvs() else None

    def build(self, spec: str, folder: Path) -> Path:
        """Build a folder or source distribution into a wheel; this runs its build backend."""
        isolation = ["--no-build-isolation"] if self._options.no_build_isolation else []
        if self._uv and Path(spec).exists():
            self._call(
                [self._uv, "build", "--wheel", "--out-dir", str(folder), *isolation, *self._index(), spec],
                spec,
            )
        else:
            self._call(
                [*self._pip(), "wheel", "--no-deps", "-w", str(folder), *isolation, *self._index(), spec],
                spec,
            )
        return next(folder.glob("*.whl"))

    def unpack(self, spec: str, folder: Path) -> None:
        """Unpack the wheel of a name into ``folder``, without its dependencies; runs nothing of it."""
        where = ["--target", str(folder), "--no-deps", "--only-binary", ":all:"]
        quiet = [] if self._uv else ["--no-compile"]
        self._call([*self._install(), *where, *quiet, *self._index(), spec], spec)

    def install(self, spec: str, *, allow_build: bool, fresh: bool = False) -> None:
        """Install for good. ``fresh`` replaces the same version where it is installed already."""
        binary = [] if allow_build else ["--only-binary", ":all:"]
        if fresh:
            again = ["--reinstall" if self._uv else "--force-reinstall", "--no-deps"]
            self._call([*self._install(), *again, *self._index(), spec], spec)
        self._call([*self._install(), *binary, *self._index(), spec], spec)

    def install_editable(self, folder: Path) -> None:
        """Install a project so that it is used from its folder; this runs its build backend."""
        isolation = ["--no-build-isolation"] if self._options.no_build_isolation else []
        spec = str(folder)
        self._call([*self._install(), *isolation, *self._index(), "--editable", spec], spec)

    def uninstall(self, dist: str) -> None:
        if self._uv:
            self._call([self._uv, "pip", "uninstall", "--python", sys.executable, dist], dist)
        else:
            self._call([*self._pip(), "uninstall", "--yes", dist], dist)

    def _install(self) -> list[str]:
        if self._uv:
            return [self._uv, "pip", "install", "--python", sys.executable]
        return [*self._pip(), "install"]

    def _pip(self) -> list[str]:
        return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--no-color"]

    def _index(self) -> list[str]:
        return self._options.arguments(uv=self._uv is not None)

    def _call(self, command: Sequence[str], spec: str) -> None:
        # Two tries, not pip's six, until an index is missing; after only one pip would not say why.
        retries = os.environ.get("PIP_RETRIES", "1")
        environment = {**os.environ, "PIP_RETRIES": "1" if retries == "0" else retries}
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                check=False,
            )
        except OSError as error:
            raise Refused(f"{command[0]} cannot be started: {error.strerror}") from error
        if done.returncode != 0:
            raise complaint(spec, done.stdout.decode("utf-8", "replace"))


def complaint(spec: str, output: str) -> SymphonyError:
    """The error that fits what the installer printed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for line in lines if re.match(r"(?i)error|× |╰─▶|\[?Errno", line)] or lines[-1:]
    reason = told[0].removeprefix("ERROR: ") if told else "no reason given"
    if re.search(r"No module named pip\b", output):
        return Refused("this environment has no pip", hint=f"{sys.executable} -m ensurepip")
    if UNREACHABLE.search(output):
        return IndexUnreachable(
            f"{spec}: the package index did not answer",
            hint="check the network, or use --no-index --find-links FOLDER",
        )
    for pattern, kind, hint in COMPLAINTS:
        if re.search(pattern, output, re.IGNORECASE):
            return kind(f"{spec}: {reason}", hint=hint)
    return SymphonyError(f"{spec}: {reason}", hint="the installer said: " + " | ".join(lines[-3:]))


def environment_is_uvs() -> bool:
    """Whether uv made this virtual environment (its ``pyvenv.cfg`` says so)."""
    try:
        text = (Path(sys.prefix) / "pyvenv.cfg").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(line.partition("=")[0].strip() == "uv" for line in text.splitlines())


def uv_program() -> str:
    """uv's path. Raises ``Refused`` when this environment is uv's, but uv is not there."""
    beside = Path(sys.executable).with_name("uv")
    found = shutil.which("uv") or (str(beside) if beside.is_file() else None)
    if found is None:
        raise Refused(
            "this environment was made by uv, and uv is not on PATH", hint="install uv, or put it on PATH"
        )
    return found
