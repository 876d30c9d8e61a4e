"""``python -m symphony`` is the command ``symphony``."""

from __future__ import annotations

import sys

from symphony.cli import main

if __name__ == "__main__":
    sys.exit(main())
