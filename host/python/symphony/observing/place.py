"""Where in the log a plugin's observers are: a page of a file, mapped, that outlives the process.

So no event is told twice after a death but the one that was being told, and one that the process died of
twice is left out.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

    from symphony.home import Home

_MAGIC: Final = int.from_bytes(b"observe1")
_SIZE: Final = 4096
_TEXT: Final = 64
_NEXT, _TOLD, _LOST, _RAISED, _LENGTH, _TRIED, _TRIES = 1, 2, 3, 4, 5, 6, 7
_MOST_TRIES: Final = 2


class Place:
    """The place of one plugin, made where there is none.

    Parameters
    ----------
    home, plugin:
        Whose place it is.
    end:
        The end of the log: where a plugin begins that is new, or whose place is of another log.

    ``skipped`` says whether an event was left out, since the process died twice while it was told.
    """

    def __init__(self, home: Home, plugin: str, end: int) -> None:
        home.observers.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(home.observers / plugin, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _SIZE)  # a full disk is an error now, and no SIGBUS later
            self._map = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        self._words = memoryview(self._map).cast("Q")
        if self._words[0] != _MAGIC:
            self._map[:] = bytes(_SIZE)
            self._words[_NEXT], self._words[0] = end, _MAGIC
        self._words[_NEXT] = min(self._words[_NEXT], end)
        self.skipped = self._words[_TRIES] >= _MOST_TRIES and self._words[_TRIED] >= self._words[_NEXT]
        if self.skipped:
            self.lose(1)
            self._words[_TRIES], self._words[_NEXT] = 0, self._words[_TRIED] + 1

    @property
    def next(self) -> int:
        """The position from which on nothing was told."""
        return self._words[_NEXT]

    def telling(self, position: int) -> None:
        """An event of the record at this position is about to be told."""
        tries = self._words[_TRIES] + 1 if self._words[_TRIED] == position else 1
        self._words[_TRIES], self._words[_TRIED] = 0, position  # in this order: a death may come in between
        self._words[_TRIES] = tries

    def told(self, position: int | None) -> None:
        """It was told; ``position`` is that of its record, if it was the last one of it."""
        self._words[_TOLD] += 1
        self._words[_TRIES] = 0
        if position is not None:
            self._words[_NEXT] = position + 1

    def lose(self, count: int) -> int:
        """So many events will not be told; gives how many that have been."""
        self._words[_LOST] += count
        return self._words[_LOST]

    def fail(self, text: str) -> None:
        """An observer raised."""
        self._words[_RAISED] += 1
        encoded = text.encode("utf-8", "backslashreplace")[: _SIZE - _TEXT]
        self._words[_LENGTH] = 0
        self._map[_TEXT : _TEXT + len(encoded)] = encoded
        self._words[_LENGTH] = len(encoded)

    def close(self) -> None:
        self._words.release()
        self._map.close()


def look(home: Home, plugin: str) -> dict[str, Any] | None:
    """What became of a plugin's observers: how many events they were ``told``, were ``lost``, ``raised``.

    ``problem`` is what the last one raised. None for a plugin that never observed.
    """
    path: Path = home.observers / plugin
    try:
        content = path.read_bytes()
    except OSError:
        return None
    words = memoryview(content[:_TEXT].ljust(_TEXT, b"\0")).cast("Q")
    if words[0] != _MAGIC:
        return None
    text = content[_TEXT : _TEXT + words[_LENGTH]].decode("utf-8", "replace")
    return {"told": words[_TOLD], "lost": words[_LOST], "raised": words[_RAISED], "problem": text}


def forget(home: Home, plugin: str) -> None:
    """A plugin that is gone begins anew if it comes back."""
    (home.observers / plugin).unlink(missing_ok=True)
