"""The plugins that the managed interpreter has loaded, and what they registered.

Loads only what is enabled and passed its probe; all of a plugin's hooks or none. A plugin that fails here
all the same is named as broken, and the rest works. It starts no run and loads no model.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from symphony.errors import Conflict, PluginBroken
from symphony.home import Home
from symphony.plugins import catalog
from symphony.plugins.loading import Contributions, collect, import_modules, own_roots, problem_of
from symphony.plugins.lookup import error_of, unknown_workflow, where
from symphony.plugins.names import prefix
from symphony.plugins.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from symphony.plugins.catalog import PluginState
    from symphony.plugins.discovery import Candidate
    from symphony.scheduling import Policy
    from symphony.workflows import Workflow


@dataclass(frozen=True)
class RegisteredWorkflow:
    """A workflow under its full name. ``file`` and ``sha256`` are set when a file plugin gave it."""

    name: str
    id: str
    plugin: str
    version: str
    file: Path | None
    sha256: str | None
    workflow: Workflow


@dataclass(frozen=True)
class RegisteredModel:
    """A model provider; ``memory`` is bytes, ``terms`` are the further ones of the Pool Manager."""

    name: str
    plugin: str
    provider: Any
    memory: int
    instances: int
    terms: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RegisteredObservers:
    """A plugin's functions by the hook that they observe by; ``own`` is where its code lies."""

    hooks: dict[str, list[Callable[[Any], Any]]]
    own: list[Path]


@dataclass(frozen=True)
class _Loaded:
    candidate: Candidate
    found: Contributions
    sha256: str | None = None


class PluginHost:
    """The plugins of one home, loaded into this process.

    Parameters
    ----------
    home:
        The home folder whose ``plugins.toml`` and ``plugins.cache`` count.
    enabled:
        False loads no installed plugin; files named by ``load_file`` are loaded all the same.
    importing:
        Makes the context for each import of a plugin, of which it gets the name.

    Example
    -------
    >>> host = PluginHost(Path("/tmp/home"))
    >>> host.load_all()
    >>> host.find_workflow("conductor.index").id
    'symphony-conductor:index'
    """

    def __init__(
        self,
        home: Path,
        *,
        enabled: bool = True,
        importing: Callable[[str], AbstractContextManager[None]] = lambda plugin: nullcontext(),
    ) -> None:
        self._home = Home(home)
        self._enabled = enabled
        self._importing = importing
        self._lock = threading.RLock()
        self._plugins: dict[str, _Loaded] = {}
        self._files: dict[str, _Loaded] = {}
        self.problems: dict[str, Problem] = {}
        self.workflows: dict[str, RegisteredWorkflow] = {}
        self.models: dict[str, RegisteredModel] = {}
        self.components: list[Path] = []
        self.conductor: Policy | None = None
        self.observers: dict[str, RegisteredObservers] = {}
        self.published: Callable[[], None] = lambda: None
        """Called whenever the contributions above have changed."""

    def load_all(self) -> None:
        """Load every active plugin of the catalog. Raises ``InvalidInput`` for a wrong ``plugins.toml``."""
        self.reload()

    def reload(self) -> None:
        """Read the catalog again: load what is new, drop what is gone or disabled.

        A loaded plugin whose files changed stays as it is, with a problem ``stale`` that says so: Python
        cannot unload it. File plugins are read again by ``load_file``.
        """
        with self._lock:
            states = catalog.survey(self._home) if self._enabled else []
            self.problems = {
                state.name: state.problem for state in states if state.problem and state.status != "active"
            }
            plugins: dict[str, _Loaded] = {}
            for state in states:
                loaded = self._loaded_or_new(state)
                if loaded is not None:
                    plugins[state.name] = loaded
            self._plugins = plugins
            self._publish()

    def _loaded_or_new(self, state: PluginState) -> _Loaded | None:
        if state.status != "active" or state.candidate is None:
            return None
        loaded = self._plugins.get(state.name)
        if loaded is None:
            return self._load(state.candidate)
        if loaded.candidate.fingerprint != state.candidate.fingerprint:
            self.problems[state.name] = Problem(
                "stale", "its files changed since it was loaded", hint="symphony host restart"
            )
        return loaded

    def _load(self, candidate: Candidate, sha256: str | None = None) -> _Loaded | None:
        try:
            with self._importing(candidate.name):
                modules = import_modules(candidate)
                return _Loaded(candidate, collect(candidate.name, modules, conductor=True), sha256)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.problems[candidate.name] = problem_of(error, own_roots(candidate))
            return None

    def load_file(self, path: Path) -> str:
        """Load a file plugin, again when its content changed, and return its name (the file's stem).

        Raises
        ------
        NotFound
            There is no such file.
        PluginBroken
            Its probe failed, or loading it did.
        Incompatible
            It needs another plugin API.
        Conflict
            It gives a workflow or model that an installed plugin gives.
        """
        with self._lock:
            state = catalog.file_state(self._home, path)
            if state.problem and state.status != "active":
                raise error_of(state)
            assert state.candidate is not None
            assert state.candidate.file is not None
            name, file = state.name, state.candidate.file
            sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
            known = self._files.get(name)
            if known and known.sha256 == sha256 and known.candidate.file == file:
                return name
            loaded = self._load(state.candidate, sha256)
            if loaded is None:
                problem = self.problems.pop(name)
                raise PluginBroken(
                    f"plugin file {file}: {problem.message}{where(problem)}", hint=problem.hint
                )
            self._refuse_taken(name, loaded)
            self._files[name] = loaded
            self._publish()
            return name

    def _refuse_taken(self, name: str, loaded: _Loaded) -> None:
        for workflow in loaded.found.workflows.items:
            taken = self.workflows.get(f"{prefix(name)}.{workflow}")
            if taken and taken.file is None:
                raise Conflict(
                    f"{loaded.candidate.file} gives {taken.name}, which {taken.plugin} gives already",
                    hint="rename the file",
                )
        for model in loaded.found.models.items:
            owner = self.models.get(model)
            if owner and owner.plugin in self._plugins:
                raise Conflict(
                    f"{loaded.candidate.file} gives the model {model}, which {owner.plugin} gives already"
                )

    def _publish(self) -> None:
        """Put all contributions together, in order; the dictionaries are replaced, never changed in place."""
        workflows: dict[str, RegisteredWorkflow] = {}
        models: dict[str, RegisteredModel] = {}
        components: list[Path] = []
        conductor = None
        for loaded in [*self._plugins.values(), *self._files.values()]:
            plugin, version = loaded.candidate.name, loaded.candidate.version
            for name, workflow in loaded.found.workflows.items.items():
                full = f"{prefix(plugin)}.{name}"
                workflows[full] = RegisteredWorkflow(
                    full, f"{plugin}:{name}", plugin, version, loaded.candidate.file, loaded.sha256, workflow
                )
            for name, model in loaded.found.models.items.items():
                models[name] = RegisteredModel(
                    name, plugin, model.provider, model.memory, model.instances, model.terms
                )
            components.extend(loaded.found.components.items)
            conductor = conductor if conductor is not None else loaded.found.conductor
        self.workflows, self.models, self.components = workflows, models, components
        self.conductor = conductor
        self.observers = {
            loaded.candidate.name: RegisteredObservers(loaded.found.observers, own_roots(loaded.candidate))
            for loaded in [*self._plugins.values(), *self._files.values()]
            if loaded.found.observers
        }
        self.published()

    def find_workflow(self, name: str) -> RegisteredWorkflow:
        """The workflow of this full name, id, or short name (the first plugin in order that has it).

        Raises
        ------
        NotFound
            No loaded plugin gives it; the hint has the closest names.
        PluginBroken
            The plugin of that prefix is broken.
        """
        workflows = self.workflows
        if name in workflows:
            return workflows[name]
        for registered in workflows.values():
            if name in (registered.id, registered.name.rpartition(".")[2]):
                return registered
        raise unknown_workflow(name, workflows, self.problems)
