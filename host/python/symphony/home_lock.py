"""The lock of a home, for a program that is its own host: taken as symphonyd takes it, with the same files.

symphonyd refuses a home that is held like this, and names the process; see ``host/src/home/lock.rs``.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
import weakref
from typing import TYPE_CHECKING, Any, Final

from symphony import __version__
from symphony.errors import Conflict
from symphony.home import unusable

if TYPE_CHECKING:
    from symphony.home import Home

# A host that starts or ends holds the lock without being found; it gets this long.
_PATIENCE: Final = 10.0
_LOOK: Final = 0.02


class HomeLock:
    """The right to be the host of a home; freed by ``release``, and by the kernel when the process ends."""

    def __init__(self, home: Home, file: int) -> None:
        self._home = home
        self._file = file
        self._published = False
        _held.add(self)

    @classmethod
    def take(cls, home: Home) -> HomeLock:
        """Take the lock of a home that exists.

        Raises
        ------
        Conflict
            A host has it; the message names its process.
        HostUnavailable
            The lock's file cannot be opened.
        """
        path = home.path / "host.lock"
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unusable(path, error) from error
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return cls(home, file)
            except BlockingIOError:
                holder = _holder(home)
                if holder is None and time.monotonic() < deadline:
                    time.sleep(_LOOK)
                    continue
                os.close(file)
                raise _conflict(home, holder) from None

    def publish(self) -> None:
        """Let others know who has the home. Only once the Pit's lease is held, by which they check it."""
        entry = {
            "pid": os.getpid(),
            "prefix": sys.prefix,
            "version": __version__,
            "python": sys.executable,
            "isolated": False,
        }
        new = self._home.host_json.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(json.dumps(entry) + "\n")
        new.replace(self._home.host_json)
        self._published = True

    def release(self) -> None:
        """Give the home back."""
        if self._published:
            self._home.host_json.unlink(missing_ok=True)
        self._forget()

    def _forget(self) -> None:
        _held.discard(self)
        self._published = False
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


_held: Final[weakref.WeakSet[HomeLock]] = weakref.WeakSet()


def _forget_all() -> None:
    for lock in list(_held):
        lock._forget()


# A forked child would keep the home locked for as long as it lives. Closing its copy leaves ours locked.
os.register_at_fork(after_in_child=_forget_all)


def _holder(home: Home) -> dict[str, Any] | None:
    """What the home's host says of itself, if it is there."""
    try:
        entry = json.loads(home.host_json.read_bytes())
        os.kill(int(entry["pid"]), 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(entry)


def _conflict(home: Home, holder: dict[str, Any] | None) -> Conflict:
    if holder is None:
        return Conflict(
            f"home {home.path} is locked by a host that does not answer",
            hint=f"see who holds it: fuser -v {home.path / 'host.lock'}",
        )
    if holder.get("isolated") is False:
        return Conflict(
            f"home {home.path} is held by process {holder['pid']}, which runs workflows in itself",
            hint="close its Host first, or choose another home",
        )
    return Conflict(
        f"home {home.path} has a host already, pid {holder['pid']}",
        hint="stop it: symphony host stop; or leave out isolated=False to use it",
    )
