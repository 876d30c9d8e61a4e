"""The plugins that the managed interpreter has loaded, and what they registered.

Loads only what is enabled and passed its probe; all of a plugin's hooks or none. A plugin that fails here
all the same is named as broken, and the rest works. It starts no run and loads no model.
"""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from symphony.engine.lane import RegisteredExecutor
from symphony.engine.plugin_life import PluginLife
from symphony.home import Home
from symphony.plugins import catalog, conflicts, policy, trust, wish
from symphony.plugins.configuration import Configuration
from symphony.plugins.listing import stamp_of
from symphony.plugins.loading import Contributions, collect, import_modules, own_roots, problem_of
from symphony.plugins.lookup import error_for, error_of, unknown_workflow
from symphony.plugins.names import canonical
from symphony.plugins.namespace import CONDUCTOR, Namespace, Offer
from symphony.plugins.problem import Problem
from symphony.plugins.site_paths import SitePaths
from symphony.plugins.source import PluginSource
from symphony.values.registry import adopt_types, withdraw_types

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from symphony.engine.middleware import Middleware
    from symphony.plugins.catalog import PluginState
    from symphony.plugins.discovery import Candidate
    from symphony.scheduling import Policy
    from symphony.workflows import Workflow


_LOOK: Final = 0.5
"""Seconds between two looks at the files that people write."""


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
    """A model provider; ``memory`` is bytes, ``terms`` are the further ones of the Pool Manager.

    ``name``, by which the Pool Manager knows it, is the short one where that means it, else the full one.
    """

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
    source: PluginSource
    life: PluginLife
    native: tuple[Offer, ...] = ()
    sha256: str | None = None

    @property
    def name(self) -> str:
        return self.candidate.name

    def offer(self, kind: str, name: str) -> Offer:
        return Offer(kind, self.name, name, f"{self.name}:{name}")

    def offers(self) -> Iterable[Offer]:
        """Everything that it gives under a name."""
        for kind, items in self.found.named().items():
            yield from (self.offer(kind, name) for name in items)
        yield from self.native


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
    settings:
        KEY=VALUE words that come before the plugins' tables in ``config.toml``.

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
        settings: Sequence[str] = (),
    ) -> None:
        self._home = Home(home)
        self._enabled = enabled
        self._importing = importing
        self._settings = settings
        self._lock = threading.RLock()
        self._paths = SitePaths()
        self._plugins: dict[str, _Loaded] = {}
        self._files: dict[str, _Loaded] = {}
        self._states: list[PluginState] = []
        self._prefer: Mapping[str, str] = {}
        self._written = self._stamps()
        self._looked = 0.0
        self._model_names: dict[tuple[str, str], str] = {}
        self.names = Namespace([])
        self.problems: dict[str, Problem] = {}
        self.workflows: dict[str, RegisteredWorkflow] = {}
        self.models: dict[str, RegisteredModel] = {}
        self.components: list[Path] = []
        self.conductor: Policy | None = None
        self.executors: list[RegisteredExecutor] = []
        self.middleware: list[tuple[str, Middleware]] = []
        self.sources: dict[str, PluginSource] = {}
        self.lives: list[PluginLife] = []
        self.observers: dict[str, RegisteredObservers] = {}
        self.published: Callable[[], None] = lambda: None
        """Called whenever the contributions above have changed."""

    @property
    def home(self) -> Path:
        return self._home.path

    def outdated(self) -> bool:
        """Whether wish, policy or trust were written anew since they were read, by an editor as it may be."""
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return False
        self._looked = now
        return self._written != self._stamps()

    def _stamps(self) -> tuple[object, ...]:
        files = (self._home.plugins_toml, self._home.trusted_toml, *policy.places(self._home))
        return tuple(stamp_of(file) for file in files)

    @property
    def files(self) -> set[str]:
        """The names of the file plugins."""
        return set(self._files)

    def load_all(self) -> None:
        """Load every active plugin of the catalog.

        Raises ``InvalidInput`` for a ``plugins.toml`` or a table ``plugins`` in ``config.toml`` that is none.
        """
        Configuration(self._home.path, self._settings)
        self.reload()

    def reload(self) -> None:
        """Read the catalog again: load what is new, drop what is gone or disabled.

        A loaded plugin whose files changed stays as it is, with a problem ``stale`` that says so: Python
        cannot unload it. File plugins are read again by ``load_file``.
        """
        with self._lock:
            written = self._stamps()
            self._paths.take_up()
            states = catalog.survey(self._home) if self._enabled else []
            self._states, self._prefer = states, wish.preferences(self._home)
            self.problems = {
                state.name: state.problem for state in states if state.problem and state.status != "active"
            }
            plugins: dict[str, _Loaded] = {}
            for state in states:
                loaded = self._loaded_or_new(state)
                if loaded is not None:
                    plugins[state.name] = loaded
            before = self._plugins.keys() | self._files.keys()
            self._plugins = plugins
            self._files = {
                name: loaded
                for name, loaded in self._files.items()
                if trust.problem(self._home, loaded.candidate) is None
            }
            for name in before - self._plugins.keys() - self._files.keys():
                withdraw_types(name)
            self._publish()
            self._written = written

    def _loaded_or_new(self, state: PluginState) -> _Loaded | None:
        if state.status != "active" or state.candidate is None:
            return None
        loaded = self._plugins.get(state.name)
        if loaded is None:
            return self._load(state)
        if loaded.candidate.fingerprint != state.candidate.fingerprint:
            self.problems[state.name] = Problem(
                "stale", "its files changed since it was loaded", hint="symphony host restart"
            )
        return loaded

    def _load(self, state: PluginState, sha256: str | None = None) -> _Loaded | None:
        candidate = state.candidate
        assert candidate is not None
        native = tuple(offer for offer in state.offers if offer.kind == "component")
        try:
            config = Configuration(self._home.path, self._settings).of(candidate.name)
            with self._importing(candidate.name):
                found = collect(candidate.name, import_modules(candidate), config=config)
            adopt_types(candidate.name, found.types.items.values())
            source = PluginSource(candidate, config, bool(found.types.items))
            life = PluginLife(candidate.name, found.life)
            return _Loaded(candidate, found, source, life, native, sha256)
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
            Its names are those of an installed plugin.
        """
        with self._lock:
            file_state = catalog.file_state(self._home, path)
            state = conflicts.with_files(self._states, [file_state], self._prefer)[-1]
            if state.problem and state.status != "active":
                raise error_of(state)
            assert state.candidate is not None
            assert state.candidate.file is not None
            name, file = state.name, state.candidate.file
            sha256 = state.candidate.sha256
            known = self._files.get(name)
            if known and known.sha256 == sha256 and known.candidate.file == file:
                return name
            loaded = self._load(state, sha256)
            if loaded is None:
                raise error_for(f"plugin file {file}", self.problems.pop(name))
            self._files[name] = loaded
            self._publish()
            return name

    def _publish(self) -> None:
        """Put all contributions together, in order; the dictionaries are replaced, never changed in place."""
        everyone = [*self._plugins.values(), *self._files.values()]
        names = Namespace([offer for loaded in everyone for offer in loaded.offers()], self._prefer)
        workflows: dict[str, RegisteredWorkflow] = {}
        models: dict[str, RegisteredModel] = {}
        executors: list[RegisteredExecutor] = []
        middleware: list[tuple[str, Middleware]] = []
        for loaded in everyone:
            candidate = loaded.candidate
            for name, workflow in loaded.found.workflows.items.items():
                offer = loaded.offer("workflow", name)
                workflows[offer.full] = RegisteredWorkflow(
                    offer.full,
                    offer.id,
                    candidate.name,
                    candidate.version,
                    candidate.file,
                    loaded.sha256,
                    workflow,
                )
            for name, model in loaded.found.models.items.items():
                known = names.shortest(loaded.offer("model", name))
                backup = names.find("model", model.terms["backup"], plugin=loaded.name)
                terms = {**model.terms, "backup": names.shortest(backup)} if backup else model.terms
                models[known] = RegisteredModel(
                    known, candidate.name, model.provider, model.memory, model.instances, terms
                )
            for name, given in loaded.found.executors.items.items():
                full = loaded.offer("executor", name).full
                executors.append(RegisteredExecutor(full, loaded.name, given.executor, given.slots))
            middleware += [(loaded.name, each) for each in loaded.found.middleware]
        self.names, self.workflows, self.models = names, workflows, models
        self.executors, self.middleware = executors, middleware
        self.sources = {loaded.name: loaded.source for loaded in everyone}
        self.lives = [loaded.life for loaded in everyone]
        self._model_names = {}
        self.components = _libraries(everyone, names)
        self.conductor = self._first_conductor(everyone)
        self.observers = {
            loaded.name: RegisteredObservers(loaded.found.observers, own_roots(loaded.candidate))
            for loaded in everyone
            if loaded.found.observers
        }
        self.published()

    def _first_conductor(self, everyone: Iterable[_Loaded]) -> Policy | None:
        chosen = self._prefer.get(CONDUCTOR)
        first = sorted(everyone, key=lambda loaded: canonical(loaded.name) != chosen)
        return next((one.found.conductor for one in first if one.found.conductor is not None), None)

    def find_workflow(self, name: str, files: Collection[str] | None = None) -> RegisteredWorkflow:
        """The workflow that a full name, an id or a short name means.

        Parameters
        ----------
        files:
            The names of the file plugins that count; all by default.

        Raises
        ------
        NotFound
            No loaded plugin gives it; the hint has the closest names.
        PluginBroken
            The plugin of that prefix is broken.
        """
        known = self.workflows.values()
        hidden = {one.plugin for one in known if files is not None and one.file and one.plugin not in files}
        found = self.names.find("workflow", name, hidden=hidden)
        if found is None:
            names = [one.name for one in known if one.plugin not in hidden]
            raise unknown_workflow(name, names, self.problems)
        return self.workflows[found.full]

    def model_name(self, name: str, plugin: str = "") -> str:
        """The Pool Manager's name of the model meant by ``name`` in a plugin's code, or by a person."""
        known = self._model_names.get((name, plugin))
        if known is None:  # asked for by every step that uses a model
            found = self.names.find("model", name, plugin=plugin)
            known = self._model_names[name, plugin] = self.names.shortest(found) if found else name
        return known

    def component_ids(self) -> dict[str, str]:
        """The id of each plugin's component by its full name."""
        return {offer.full: offer.id for offer in self.names.of_kind("component")}

    def component_id(self, name: str) -> str:
        """The id of the plugin's component meant by a full name, an id or a short name; else the name."""
        found = self.names.find("component", name)
        return found.id if found else name


def _libraries(everyone: Iterable[_Loaded], names: Namespace) -> list[Path]:
    """The component libraries; those whose short name counts come first, as the first to give one has it."""
    found = [
        (any(names.shortest(offer) != offer.name for offer in loaded.native), library)
        for loaded in everyone
        for library in loaded.found.components.items
    ]
    return [library for _, library in sorted(found, key=lambda item: item[0])]
