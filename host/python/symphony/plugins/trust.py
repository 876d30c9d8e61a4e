"""``trusted.toml``: the files ``symphony_plugins.py`` that may run, by the SHA-256 of what was trusted.

Such a file is found, not named by the user: it may have come with a folder from anywhere. So nothing of it is
executed before its content was trusted, and a changed one has to be trusted again. Nothing here runs it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from symphony.errors import InvalidInput, NotFound
from symphony.home import absolute
from symphony.plugins import discovery, wish
from symphony.plugins.names import did_you_mean
from symphony.plugins.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from symphony.home import Home
    from symphony.plugins.discovery import Candidate

HEADER: Final = (
    "The files symphony_plugins.py that may run, each as it was when it was trusted (its SHA-256)."
)
_SHA256: Final = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Trusted:
    """One file; ``status`` is ``trusted``, ``changed``, ``gone``, or ``revoked``."""

    path: str
    sha256: str
    status: str

    def json(self) -> dict[str, Any]:
        return asdict(self)


def read(home: Home) -> dict[str, str]:
    """The hash that is trusted of each path. Raises ``InvalidInput`` naming what is wrong with the file."""
    if not home.trusted_toml.exists():
        return {}
    import tomllib

    path = home.trusted_toml
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InvalidInput(f"{path}: {error}", hint="mend the file, or move it away") from error
    files = data.get("files", {})
    if set(data) - {"files"} or not isinstance(files, dict):
        raise InvalidInput(f"{path}: expected the table [files] alone", hint="mend the file, or move it away")
    for file, sha256 in files.items():
        if not isinstance(sha256, str) or not _SHA256.match(sha256):
            hint = "symphony plugins trust writes it"
            raise InvalidInput(f"{path}: {file}: expected a SHA-256 in hexadecimal", hint=hint)
    return files


def problem(home: Home, candidate: Candidate) -> Problem | None:
    """Why a file plugin may not run. Any but ``symphony_plugins.py`` was named by the user, and may."""
    if candidate.file is None or candidate.file.name != discovery.LOCAL_FILE:
        return None
    trusted = read(home).get(str(candidate.file))
    if trusted == candidate.sha256:
        return None
    reason = "it is not trusted" if trusted is None else "it changed since it was trusted"
    return Problem("untrusted", reason, hint=f"look at it, then: symphony plugins trust {candidate.file}")


def grant(home: Home, path: str) -> Trusted:
    """Trust the content that a file has now; ``path`` may be its folder.

    Raises
    ------
    NotFound
        There is no such file.
    InvalidInput
        It is another file, which needs no trust.
    """
    file = _file(path)
    if not file.is_file():
        raise NotFound(
            f"there is no file {file}", hint=f"name a folder with a {discovery.LOCAL_FILE}, or the file"
        )
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    _edit(home, lambda files: files.__setitem__(str(file), sha256))
    return Trusted(str(file), sha256, "trusted")


def revoke(home: Home, path: str) -> Trusted:
    """Trust a file no more, be it there or gone. Raises ``NotFound`` for one that is not trusted."""
    file, known = str(_file(path)), read(home)
    if file not in known:
        hint = did_you_mean(file, known, "symphony plugins trust --list")
        raise NotFound(f"{file} is not trusted", hint=hint)
    _edit(home, lambda files: files.pop(file, None))
    return Trusted(file, known[file], "revoked")


def listed(home: Home) -> list[Trusted]:
    """Everything that was trusted, by path, and what has become of it."""
    return [Trusted(path, sha256, _status(Path(path), sha256)) for path, sha256 in sorted(read(home).items())]


def _status(path: Path, sha256: str) -> str:
    try:
        now = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "gone"
    return "trusted" if now == sha256 else "changed"


def _file(path: str) -> Path:
    if not path:  # a variable of the shell that is not set
        raise InvalidInput("'' names no file", hint="for that of this folder: symphony plugins trust .")
    given = absolute(path)
    file = given / discovery.LOCAL_FILE if given.is_dir() else given
    if file.name != discovery.LOCAL_FILE:
        raise InvalidInput(
            f"{file.name} needs no trust, only {discovery.LOCAL_FILE} does",
            hint=f"symphony run WORKFLOW --plugin {path}",
        )
    return discovery.real_folder(file)


def _edit(home: Home, edit: Callable[[Any], object]) -> None:
    import tomlkit

    home.ensure()
    with wish.locked(home):
        read(home)  # a file that is wrong is reported, not rewritten
        try:
            document = tomlkit.parse(home.trusted_toml.read_text(encoding="utf-8"))
        except FileNotFoundError:
            document = tomlkit.document()
            document.add(tomlkit.comment(HEADER))
        edit(document.setdefault("files", tomlkit.table()))
        wish.replace(home.trusted_toml, tomlkit.dumps(document))
