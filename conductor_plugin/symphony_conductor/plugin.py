"""What the Conductor gives to Symphony: two workflows, a model, the scheduling policy.

Registration only; no model and no numerical library is imported here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import symphony

if TYPE_CHECKING:
    from symphony.plugins.registry import ModelRegistry, WorkflowRegistry
    from symphony.scheduling import Policy

symphony_api = 1


@symphony.hookimpl
def register_workflows(registry: WorkflowRegistry) -> None:
    """``conductor.index`` and ``conductor.search``."""
    from symphony_conductor.indexing import index
    from symphony_conductor.searching import search

    registry.add(index)
    registry.add(search)


@symphony.hookimpl
def register_models(registry: ModelRegistry) -> None:
    """The embedding model of WordLlama."""
    from symphony_conductor.provider import MEMORY, NAME, WordLlamaProvider

    registry.add(NAME, WordLlamaProvider(), memory=MEMORY, instances=1)


@symphony.hookimpl
def conductor() -> Policy:
    """Steps of one model together."""
    from symphony_conductor.policy import ModelsTogether

    return ModelsTogether()
