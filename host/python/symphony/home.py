"""The home of a host: where it lies, what lies in it, and whether it can be used.

Only paths and permissions; what is inside the files belongs to the modules that write them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from pathlib import Path

from symphony.errors import HostUnavailable, Refused


def resolve_home(option: str | os.PathLike[str] | None = None) -> Path:
    """The home to use: the option, else ``SYMPHONY_HOME``, else the environment's own under the data folder.

    Example
    -------
    >>> resolve_home("/tmp/home")
    PosixPath('/tmp/home')
    """
    chosen = option or os.environ.get("SYMPHONY_HOME")
    if chosen:
        return absolute(chosen)
    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    base = data if data.is_absolute() else Path.home() / ".local" / "share"
    import hashlib  # not for every command

    return base / "symphony" / hashlib.sha256(sys.prefix.encode()).hexdigest()[:8]


def absolute(path: str | os.PathLike[str]) -> Path:
    """The absolute path without ``..``, its links kept: a file's name is the name of its plugin."""
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - resolve() would follow the links


class Home:
    """One home folder. Making the object touches nothing.

    Example
    -------
    >>> Home(Path("/tmp/home")).pit
    PosixPath('/tmp/home/pit')
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @property
    def pit(self) -> Path:
        return self.path / "pit"

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def host_log(self) -> Path:
        return self.logs / "symphonyd.log"

    @property
    def reports(self) -> Path:
        return self.path / "reports"

    @property
    def host_json(self) -> Path:
        return self.path / "host.json"

    @property
    def plugins_toml(self) -> Path:
        return self.path / "plugins.toml"

    @property
    def trusted_toml(self) -> Path:
        return self.path / "trusted.toml"

    @property
    def plugins_lock(self) -> Path:
        return self.path / "plugins.lock"

    @property
    def policy(self) -> Path:
        return self.path / "policy.toml"

    @property
    def plugin_deaths(self) -> Path:
        return self.path / "plugin_deaths.json"

    @property
    def plugins_cache(self) -> Path:
        return self.path / "plugins.cache"

    @property
    def plugins_listing(self) -> Path:
        return self.path / "plugins.listing"

    @property
    def observers(self) -> Path:
        return self.path / "observers"

    @property
    def plugins_commands(self) -> Path:
        return self.path / "plugins.commands"

    def check(self) -> None:
        """Refuse a home that somebody else owns or can write to. A home that is not there yet is fine.

        Raises
        ------
        Refused
            It belongs to another user, or group or others may write to it.
        HostUnavailable
            It is no folder, or cannot be looked at.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return
        except OSError as error:
            raise HostUnavailable(f"home {self.path}: {error.strerror}") from error
        if not stat.S_ISDIR(found.st_mode):
            raise HostUnavailable(
                f"home {self.path} is not a folder", hint="choose another one with --home DIR"
            )
        if found.st_uid != os.geteuid():
            raise Refused(
                f"home {self.path} belongs to uid {found.st_uid}, you are uid {os.geteuid()}",
                hint="choose another one with --home DIR",
            )
        if found.st_mode & 0o022 and not self._tighten_if_empty():
            mode = stat.S_IMODE(found.st_mode)
            raise Refused(
                f"home {self.path} can be written by others (mode {mode:04o})", hint=f"chmod 700 {self.path}"
            )

    def _tighten_if_empty(self) -> bool:
        """An empty folder is a home about to be made: give it the mode it would have been made with."""
        try:
            if any(self.path.iterdir()):
                return False
            self.path.chmod(0o700)
        except OSError:
            return False
        return True

    def ensure(self) -> Home:
        """Create the home (0700) where it is missing, and refuse one that is not ours.

        Raises
        ------
        HostUnavailable
            It cannot be created: read-only or full file system, or no permission.
        """
        self.check()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(mode=0o700, exist_ok=True)
            self.check()
            # What is in it is nobody else's to read, though whoever made the folder may have left it open.
            if self.path.stat().st_mode & 0o077:
                self.path.chmod(0o700)
        except OSError as error:
            raise unusable(self.path, error) from error
        return self

    def ensure_writable(self) -> Home:
        """As ``ensure``, and write a file on trial, so that a full disk is named before a host starts."""
        self.ensure()
        trial = self.path / f".trial-{os.getpid()}"
        try:
            trial.write_bytes(b"\0" * 65536)
        except OSError as error:
            raise unusable(self.path, error) from error
        finally:
            with contextlib.suppress(OSError):
                trial.unlink()
        return self

    def hash_seed(self) -> str:
        """The seed of Python's string hashes: one per home, since a replay must see sets in the same order.

        Raises ``HostUnavailable`` where it cannot be written.
        """
        path = self.path / "hash_seed"
        made = self.path / f".hash-seed-{os.getpid()}"
        try:
            if not path.exists():
                made.touch(mode=0o600)
                made.write_text(f"{int.from_bytes(os.urandom(4)) or 1}\n")
                with contextlib.suppress(FileExistsError):  # somebody else was quicker: theirs counts
                    os.link(made, path)
            return path.read_text().strip()
        except OSError as error:
            raise unusable(path, error) from error
        finally:
            made.unlink(missing_ok=True)


def unusable(path: Path, error: OSError) -> HostUnavailable:
    """The error for a home that cannot be written, saying what to free or change."""
    reasons = {
        errno.ENOSPC: ("the disk is full", f"free some space: df -h {path}"),
        errno.EDQUOT: ("your disk quota is used up", f"free some space: df -h {path}"),
        errno.EROFS: ("the file system is read-only", "choose another home with --home DIR"),
        errno.EACCES: ("permission denied", "choose another home with --home DIR"),
        errno.ENOTDIR: ("a part of the path is a file", "choose another home with --home DIR"),
    }
    reason, hint = reasons.get(
        error.errno or 0, (error.strerror or str(error), "choose another home with --home DIR")
    )
    return HostUnavailable(f"home {path}: {reason}", hint=hint)
