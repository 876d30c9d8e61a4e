"""What Symphony finds by the entry point. Every interpreter imports it: keep it light."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import symphony

from symphony_acme.workflows import words

if TYPE_CHECKING:
    from symphony.plugins.registry import ComponentRegistry, WorkflowRegistry

symphony_api = 1
SUFFIX = ".dylib" if sys.platform == "darwin" else ".so"


@symphony.hookimpl
def register_workflows(registry: WorkflowRegistry) -> None:
    """Tell Symphony of the workflows."""
    registry.add(words)


@symphony.hookimpl
def register_components(registry: ComponentRegistry) -> None:
    """Tell Symphony of the native component."""
    registry.add(Path(__file__).with_name(f"libsymphony_acme{SUFFIX}"))
