"""A line of Symphony's own in the interpreter's output, which the host keeps."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def log_line(line: str) -> None:
    """Write it to stderr, also where a plugin has put something in place of ``sys.stderr`` that fails."""
    text = f"symphony: {line}"
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except Exception:  # a plugin's code
        with suppress(OSError):  # and this one, too, may be closed
            os.write(2, f"{text}\n".encode(errors="backslashreplace"))
