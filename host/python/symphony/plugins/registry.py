"""What one plugin's ``register_*`` hooks are called with: recorders that check each contribution as it comes.

They belong to one plugin and are thrown away when any of its hooks fails. They load no model and no library.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symphony.errors import InvalidInput
from symphony.plugins.names import COMMAND, FILE_STEM

if TYPE_CHECKING:
    import os

    import click

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


class CommandRegistry:
    """Collects commands of one plugin, in the order they were added."""

    def __init__(self) -> None:
        self.items: dict[str, click.Command] = {}

    def add(self, command: click.Command) -> None:
        """Add one command or group of click; see ``hookspecs.register_commands``.

        Raises ``InvalidInput`` when it is none, has a name that cannot be typed, or was added before.
        """
        import click

        if not isinstance(command, click.Command):
            what = getattr(command, "__name__", None) or repr(command)[:60]
            raise InvalidInput(
                f"registry.add: {what} is a {type(command).__name__}, not a command",
                hint="decorate a function with @click.command()",
            )
        if not COMMAND.match(command.name or ""):
            raise InvalidInput(
                f"registry.add: {command.name!r} cannot be a command's name",
                hint="lower-case letters, digits, '_' and '-', a letter or digit first",
            )
        if command.name in self.items:
            raise InvalidInput(f"registry.add: the command {command.name!r} was added twice")
        self.items[str(command.name)] = command


@dataclass(frozen=True)
class OfferedModel:
    """A provider as it was added; ``terms`` are the further ones of the Pool Manager's ``register``."""

    provider: Any
    memory: int
    instances: int
    terms: dict[str, Any]


class ModelRegistry:
    """Collects model providers of one plugin."""

    def __init__(self) -> None:
        self.items: dict[str, OfferedModel] = {}

    def add(
        self,
        name: str,
        provider: object,
        *,
        memory: int,
        instances: int = 1,
        backup: str = "",
        keep_warm: float = 0.0,
        failure_threshold: int = 3,
    ) -> None:
        """Add one provider under ``name``; see ``hookspecs.register_models``.

        Raises ``InvalidInput`` for a provider without ``load``, for terms out of range, and for a name that
        was added before.
        """
        if not isinstance(name, str) or not name or name.strip() != name:
            raise InvalidInput(f"registry.add: a model's name is a non-empty string, got {name!r}")
        if name in self.items:
            raise InvalidInput(f"registry.add: the model {name!r} was added twice")
        for method in ("load", "unload", "health"):
            found = getattr(provider, method, None)
            if not callable(found) and (found is not None or method == "load"):
                raise InvalidInput(
                    f"registry.add: the provider of model {name!r} has no method {method!r}",
                    hint="a provider has load() and, if need be, unload(model) and health(model)",
                )
        cost = getattr(provider, "cost", 0.0)
        for term, value, least, kinds in (
            ("memory", memory, 0, int),
            ("instances", instances, 1, int),
            ("failure_threshold", failure_threshold, 1, int),
            ("keep_warm", keep_warm, 0, (int, float)),
            ("cost", cost, 0, (int, float)),
        ):
            if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value < math.inf:
                raise InvalidInput(
                    f"registry.add: {term} of model {name!r}: expected a number of at least {least}, "
                    f"got {value!r}"
                )
        if not isinstance(backup, str) or backup == name:
            raise InvalidInput(
                f"registry.add: backup of model {name!r}: expected another model, got {backup!r}"
            )
        terms = {
            "cost_per_call": float(cost),
            "backup": backup,
            "keep_warm": float(keep_warm),
            "failure_threshold": failure_threshold,
        }
        self.items[name] = OfferedModel(provider, memory, instances, terms)


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
