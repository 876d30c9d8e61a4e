"""What Symphony finds by the entry point. Every interpreter imports it: keep it light."""

from __future__ import annotations

from typing import TYPE_CHECKING

import symphony

from symphony_acme.workflows import words

if TYPE_CHECKING:
    from symphony.plugins.registry import WorkflowRegistry

symphony_api = 1


@symphony.hookimpl
def register_workflows(registry: WorkflowRegistry) -> None:
    """Tell Symphony of the workflows."""
    registry.add(words)
