"""The plugin API of this host: a number of its own, apart from the host's version."""

from __future__ import annotations

from typing import Final

SYMPHONY_API: Final = 1
"""A plugin that needs another one says ``symphony_api = N`` in its module."""
