"""Plugins: which are wished, which are there, what they offer (read from the store), and loading them.

Only ``loading`` and ``loaded`` import a plugin, and only the probe and the managed interpreter use those two.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from symphony.plugins.loaded import PluginHost as PluginHost
    from symphony.plugins.loaded import RegisteredModel as RegisteredModel
    from symphony.plugins.loaded import RegisteredWorkflow as RegisteredWorkflow

LOCAL_FILE: Final = "symphony_plugins.py"
"""The plugin file that is looked for in the working folder; its name as a plugin is ``local``."""
SELECTION: Final = "SYMPHONY_PLUGINS"
"""The variable that says which installed plugins count; see ``symphony.plugins.selection``."""
_LOADED: Final = ("PluginHost", "RegisteredModel", "RegisteredWorkflow")


def __getattr__(name: str) -> object:
    # On first use, so that reading the store never costs the import of pluggy.
    if name not in _LOADED:
        raise AttributeError(f"module 'symphony.plugins' has no attribute {name!r}")
    value: object = getattr(import_module("symphony.plugins.loaded"), name)
    return value
