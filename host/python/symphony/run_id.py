"""Run ids: ULIDs in lower case, 26 characters, ordered by the time they were made."""

from __future__ import annotations

import os
import time
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"


class RunIds:
    """Makes ids that grow, also within one millisecond and when the clock is set back.

    Example
    -------
    >>> len(RunIds().make())
    26
    """

    def __init__(self) -> None:
        self._last = 0

    def make(self) -> str:
        """The next id."""
        fresh = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
        self._last = max(fresh, self._last + 1)
        return "".join(_ALPHABET[self._last >> (at * 5) & 31] for at in reversed(range(26)))
