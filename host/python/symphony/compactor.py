"""The compactor: a short-lived process that turns the log of a home so far into snapshots.

``python -m symphony.compactor HOME LIBRARY…``. It takes no lease and appends nothing: the running Pit
goes on.
"""

from __future__ import annotations

import os
import sys


def main(home: str, libraries: list[str]) -> None:
    """Write the snapshots and say, a line each, what they cover."""
    from symphony import _host

    os.nice(10)
    for component, position, size in _host.compact(home, libraries):
        print(f"{component}: a snapshot of {size} bytes, up to position {position}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
