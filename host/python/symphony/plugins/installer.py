"""The environment's own installer: uv where the environment is uv's, else pip.

It knows no plugin rules; it turns the installer's complaints into Symphony's errors and exit codes, and lets
no credentials of an index out of them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
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
from symphony.plugins import environment
from symphony.plugins.credentials import without_credentials

if TYPE_CHECKING:
    from collections.abc import Sequence

UNREACHABLE: Final = re.compile(
    r"Retrying \(Retry|NewConnectionError|Failed to establish a new connection|failure in name resolution"
    r"|Max retries exceeded|ProxyError|SSLError|ConnectTimeout|ReadTimeout|error sending request"
    r"|Could not connect|Failed to fetch|dns error|Name or service not known|Connection refused",
)
UNAUTHORIZED: Final = re.compile(r"\b40[13] (?:Error|Client Error|Unauthorized|Forbidden)")
GONE: Final = re.compile(r"\b404 (?:Client Error|Not Found)|HTTP error 404")
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
        r"was not found in the (?:package registry|provided package locations)"
        r"|(?:there is no version of \S+|only \S+ is available) and you require",
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
CONFIGURES_INDEXES: Final = re.compile(r"(PIP|UV)_.*(INDEX|FIND_LINKS|CONFIG)")


@dataclass(frozen=True)
class IndexOptions:
    """What is passed through to the installer."""

    index_url: str | None = None
    extra_index_url: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    pre: bool = False
    no_build_isolation: bool = False

    @property
    def places(self) -> list[str]:
        """Every index and folder that is named."""
        return [*([self.index_url] if self.index_url else []), *self.extra_index_url, *self.find_links]

    def bound_to(self, indexes: Sequence[str]) -> IndexOptions:
        """These options where only ``indexes`` may be asked, the first of them in place of the default."""
        if self.no_index or self.index_url:
            return self
        default = next((index for index in indexes if "://" in index), None)
        return replace(self, index_url=default, no_index=default is None)

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
    """Installs into the environment of ``sys.executable``.

    ``indexes`` are those of the policy, if it names any: nothing else is asked then, however pip is set up.
    Raises ``Refused`` where the environment may not be changed, or has no installer.
    """

    def __init__(self, options: IndexOptions, indexes: Sequence[str] | None = None) -> None:
        environment.check()
        self._options = options if indexes is None else options.bound_to(indexes)
        self._bound = indexes is not None
        self._command = environment.installer()
        self._uv = self._command[0] if self._command[1:] == ["pip"] else None

    def build(self, spec: str, folder: Path) -> Path:
        """Build a folder or source distribution into a wheel; this runs its build backend."""
        isolation = ["--no-build-isolation"] if self._options.no_build_isolation else []
        where: list[str]
        if self._uv and Path(spec).exists():
            where = [self._uv, "build", "--wheel", "--out-dir", str(folder)]
        else:
            where = [*self._pip("wheel"), "--no-deps", "-w", str(folder)]
        self._call([*where, *isolation, *self._index(), spec], spec)
        return next(folder.glob("*.whl"))

    def unpack(self, spec: str, folder: Path) -> None:
        """Unpack the wheel of a name into ``folder``, without its dependencies; runs nothing of it."""
        where = ["--target", str(folder), "--no-deps", "--only-binary", ":all:"]
        quiet = [] if self._uv else ["--no-compile"]
        self._call([*self._pip("install"), *where, *quiet, *self._index(), spec], spec)

    def install(
        self, *specs: str, allow_build: bool = False, fresh: bool = False, alone: bool = False
    ) -> None:
        """Install for good. ``fresh`` replaces the same version, of what needs nothing if ``alone``."""
        binary = [] if allow_build else ["--only-binary", ":all:"]
        told = ", ".join(specs)
        if fresh:
            again = ["--reinstall" if self._uv else "--force-reinstall", "--no-deps"]
            self._call([*self._pip("install"), *again, *binary, *self._index(), *specs], told)
        if fresh and alone:
            return
        self._call([*self._pip("install"), *binary, *self._index(), *specs], told)

    def install_editable(self, folder: Path) -> None:
        """Install a project so that it is used from its folder; this runs its build backend."""
        isolation = ["--no-build-isolation"] if self._options.no_build_isolation else []
        spec = str(folder)
        self._call([*self._pip("install"), *isolation, *self._index(), "--editable", spec], spec)

    def uninstall(self, *dists: str) -> None:
        self._call([*self._pip("uninstall"), *([] if self._uv else ["--yes"]), *dists], ", ".join(dists))

    def _pip(self, verb: str) -> list[str]:
        if self._uv:
            return [*self._command, verb, "--python", sys.executable]
        return [*self._command, "--disable-pip-version-check", "--no-input", "--no-color", verb]

    def _index(self) -> list[str]:
        return self._options.arguments(uv=self._uv is not None)

    def _environment(self) -> dict[str, str]:
        # Two tries, not pip's six, until an index is missing; after only one pip would not say why.
        retries = os.environ.get("PIP_RETRIES", "1")
        given = {"UV_HTTP_RETRIES": "1", **os.environ, "PIP_RETRIES": "1" if retries == "0" else retries}
        if not self._bound:
            return given
        kept = {key: value for key, value in given.items() if not CONFIGURES_INDEXES.match(key)}
        return {**kept, "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}

    def _call(self, command: Sequence[str], spec: str) -> None:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                check=False,
            )
        except OSError as error:
            raise Refused(f"{command[0]} cannot be started: {error.strerror}") from error
        if done.returncode != 0:
            raise complaint(spec, done.stdout.decode("utf-8", "replace"))


def complaint(spec: str, output: str) -> SymphonyError:
    """The error that fits what the installer printed."""
    spec, output = without_credentials(spec), without_credentials(output)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    causes = [line for line in lines if re.match(r"cause: |╰─[▶>] ", line)]
    told = causes or [line for line in lines if re.match(r"(?i)error|× |\[?Errno", line)] or lines[-1:]
    reason = re.sub("^(?:ERROR|error|cause): |^╰─[▶>] ", "", told[0]) if told else "no reason given"
    if UNAUTHORIZED.search(output):
        return IndexUnreachable(
            f"{spec}: the package index wants other credentials",
            hint="check user and password, those in --index-url or in a netrc file",
        )
    if GONE.search(output):
        return NotFound(f"{spec}: there is no such file at the address", hint="check the address")
    if UNREACHABLE.search(output):
        return IndexUnreachable(
            f"{spec}: the package index did not answer",
            hint="check the network, or use --no-index --find-links FOLDER",
        )
    for pattern, kind, hint in COMPLAINTS:
        if re.search(pattern, output, re.IGNORECASE):
            return kind(f"{spec}: {reason}", hint=hint)
    return SymphonyError(f"{spec}: {reason}", hint="the installer said: " + " | ".join(lines[-3:]))
