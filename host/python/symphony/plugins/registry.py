"""What one plugin's ``register_*`` hooks are called with: recorders that check each contribution as it comes.

They belong to one plugin and are thrown away when any of its hooks fails. They load no model and no library.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symphony.errors import InvalidInput
from symphony.plugins.names import FILE_STEM

if TYPE_CHECKING:
    import os

    from symphony.workflows import Workflow


class WorkflowRegistry:
    """Collects workflows of one plugin, in the order they were added."""

    def __init__(self) -> None:
        self.items: dict[str, Workflow] = {}

    def add(self, workflow: Workflow) -> None:
        """Add one workflow; raises ``InvalidInput`` when it is none, or when its name was added before."""
        from symphony.workflows import Workflow

        if not isinstance(workflow, Workflow):
            what = getattr(workflow, "__name__", None) or repr(workflow)[:60]
            raise InvalidInput(
                f"registry.add: {what} is a {type(workflow).__name__}, not a workflow",
                hint="decorate an async function with @symphony.workflow",
            )
        if workflow.name in self.items:
            raise InvalidInput(f"registry.add: the workflow {workflow.name!r} was added twice")
        self.items[workflow.name] = workflow


class ModelRegistry:
    """Collects model providers of one plugin."""

    def __init__(self) -> None:
        self.items: dict[str, tuple[Any, int, int]] = {}

    def add(self, name: str, provider: object, *, memory: int, instances: int = 1) -> None:
        """Add one provider under ``name``; ``memory`` is bytes per instance.

        Raises ``InvalidInput`` for a provider without async ``load``, ``unload`` and ``health``, for a
        negative size, and for a name that was added before.
        """
        if not isinstance(name, str) or not name or name.strip() != name:
            raise InvalidInput(f"registry.add: a model's name is a non-empty string, got {name!r}")
        if name in self.items:
            raise InvalidInput(f"registry.add: the model {name!r} was added twice")
        for method in ("load", "unload", "health"):
            if not inspect.iscoroutinefunction(getattr(provider, method, None)):
                raise InvalidInput(
                    f"registry.add: the provider of model {name!r} has no coroutine {method!r}",
                    hint="a provider has async load(), unload(model) and health(model)",
                )
        if isinstance(memory, bool) or not isinstance(memory, int) or memory < 0:
            raise InvalidInput(f"registry.add: memory of model {name!r}: expected bytes, got {memory!r}")
        if isinstance(instances, bool) or not isinstance(instances, int) or instances < 1:
            raise InvalidInput(
                f"registry.add: instances of model {name!r}: expected 1 or more, got {instances!r}"
            )
        self.items[name] = (provider, memory, instances)


class ComponentRegistry:
    """Collects component libraries of one plugin."""

    def __init__(self) -> None:
        self.items: list[Path] = []

    def add(self, library: str | os.PathLike[str]) -> None:
        """Add one shared library; raises ``InvalidInput`` when there is no such file."""
        path = Path(library)
        if not path.is_absolute() or not path.is_file():
            raise InvalidInput(
                f"registry.add: there is no component library {path}",
                hint="give an absolute path, as in Path(__file__).with_name('libacme.so')",
            )
        self.items.append(path)


def check_name(name: str, what: str) -> None:
    """Refuse a file plugin's stem that could not stand before the dot of a workflow name."""
    if not FILE_STEM.match(name):
        raise InvalidInput(
            f"{what}: {name!r} cannot be a plugin's name", hint="letters, digits, '_' and '-' only"
        )
