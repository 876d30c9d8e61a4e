"""What one plugin's ``register_*`` hooks are called with: recorders that check each contribution as it comes.

They belong to one plugin and are thrown away when any of its hooks fails. They load no model and no library.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symphony.errors import InvalidInput
from symphony.plugins.names import COMMAND, FILE_STEM

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import click

    from symphony.executors import Executor
    from symphony.values.registry import Registered
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


class TypeRegistry:
    """Collects the classes of one plugin whose values cross the bridge."""

    def __init__(self, plugin: str = "") -> None:
        self.items: dict[str, Registered] = {}
        self._plugin = plugin

    @property
    def names(self) -> list[str]:
        """What each is called in its plugin; in records it is ``plugin:name``, or as the plugin says."""
        return [tag.removeprefix(f"{self._plugin}:") for tag in self.items]

    def add(
        self,
        kind: type,
        /,
        *more: type,
        encode: Callable[[Any], Any] | None = None,
        decode: Callable[[Any], Any] | None = None,
        name: str = "",
    ) -> None:
        """Add classes, as ``symphony.register_types`` takes them; see ``hookspecs.register_types``.

        Raises ``InvalidInput`` for a class without fields or codec and for one that was added before,
        ``Conflict`` for one that crosses by itself and for a name that is taken.
        """
        from symphony.values.registry import described

        for registered in described((kind, *more), encode, decode, name, self._plugin):
            same = [known for known in self.items.values() if known.kind is registered.kind]
            if same or registered.name in self.items:
                raise InvalidInput(f"registry.add: the type {registered.name!r} was added twice")
            self.items[registered.name] = registered


@dataclass(frozen=True)
class OfferedExecutor:
    """An executor as it was added, with its slots at that moment."""

    executor: Executor
    slots: int


class ExecutorRegistry:
    """Collects executors of one plugin."""

    def __init__(self) -> None:
        self.items: dict[str, OfferedExecutor] = {}

    def add(self, name: str, executor: Executor) -> None:
        """Add one executor under ``name``; see ``hookspecs.register_executors``.

        Raises ``InvalidInput`` for an object that is none, and for a name that was added before.
        """
        if not isinstance(name, str) or not FILE_STEM.match(name):
            raise InvalidInput(
                f"registry.add: {name!r} cannot be an executor's name",
                hint="letters, digits, '_' and '-' only",
            )
        if name in self.items:
            raise InvalidInput(f"registry.add: the executor {name!r} was added twice")
        for method in ("submit", "close"):
            if not inspect.iscoroutinefunction(getattr(executor, method, None)):
                raise InvalidInput(
                    f"registry.add: executor {name!r} has no async method {method!r}",
                    hint="see symphony.executors.Executor",
                )
        slots = getattr(executor, "slots", None)
        if isinstance(slots, bool) or not isinstance(slots, int) or slots < 1:
            raise InvalidInput(
                f"registry.add: slots of executor {name!r}: expected a number of at least 1, got {slots!r}"
            )
        self.items[name] = OfferedExecutor(executor, slots)


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
