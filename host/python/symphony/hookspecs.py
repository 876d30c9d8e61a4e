"""What a plugin can tell the host: one function per hook, the docstring is its reference.

Plugins mark their functions with ``@symphony.hookimpl``; an implementation may take fewer arguments than
the hook, never more. Nothing here imports a plugin or the native module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable

    from symphony.plugins.configuration import PluginConfig
    from symphony.plugins.registry import ComponentRegistry, ModelRegistry, WorkflowRegistry
    from symphony.scheduling import Policy

_marker = pluggy.HookspecMarker("symphony")
hookimpl = pluggy.HookimplMarker("symphony")

Spec = TypeVar("Spec", bound="Callable[..., Any]")


class HookTerms(NamedTuple):
    """Since which plugin API a hook is there, and what to use in its place where it is deprecated."""

    since: int
    deprecated: str


TERMS: Final[dict[str, HookTerms]] = {}
"""The terms of each hook by its name, in the order of this file."""


def hookspec(*, since: int, deprecated: str = "", firstresult: bool = False) -> Callable[[Spec], Spec]:
    """Mark a function of this file as the specification of a hook."""

    def mark(spec: Spec) -> Spec:
        TERMS[spec.__name__] = HookTerms(since, deprecated)
        warning = DeprecationWarning(f"{spec.__name__}: {deprecated}") if deprecated else None
        return _marker(spec, firstresult=firstresult, warn_on_impl=warning)

    return mark


@hookspec(since=1)
def configure(config: PluginConfig) -> None:
    """Read and check the plugin's settings.

    Called once, before any other hook, in each process that is to use the plugin: the managed interpreter
    and the processes of steps. Not in the probe, which knows no settings: names that a plugin registers
    cannot depend on them. A setting of a plugin without this hook is an error.

    Parameters
    ----------
    config:
        The table ``[plugins.NAME]`` of the home's ``config.toml``, with ``--set plugins.NAME.KEY=VALUE`` in
        front: a mapping, whose ``config.read(kind)`` checks it against the fields of a dataclass. NAME is the
        plugin's, also without a leading ``symphony-``. Of relative paths it takes the home as folder; a field
        that is a ``symphony.Secret`` is written as its source.

    Raises
    ------
    InvalidInput
        From ``config.read``, or raised by the plugin: a setting is unknown, missing or wrong. The plugin is
        not loaded then, and who asks for its workflows gets this error.

    Example
    -------
    >>> @dataclass
    ... class Settings:
    ...     url: str
    ...     timeout: float = 5.0
    >>> @hookimpl
    ... def configure(config):
    ...     global settings
    ...     settings = config.read(Settings)
    """


@hookspec(since=1)
def register_workflows(registry: WorkflowRegistry) -> None:
    """Add workflows.

    Called once when the plugin is probed (in a child process) and once when the managed interpreter
    loads it. A workflow is known as ``plugin.name``. Since API 1.

    Parameters
    ----------
    registry:
        ``registry.add(workflow)`` takes what ``@symphony.workflow`` returned. Raises ``InvalidInput`` for
        anything else and for a name that was added before.

    Example
    -------
    >>> @hookimpl
    ... def register_workflows(registry):
    ...     registry.add(digest)
    """


@hookspec(since=1)
def register_models(registry: ModelRegistry) -> None:
    """Add model providers that the Pool Manager loads, unloads and leases to steps.

    Called once in the probe and once in the managed interpreter; no model is loaded by it. Since API 1.

    Parameters
    ----------
    registry:
        ``registry.add(name, provider, memory=bytes, instances=1, backup="", keep_warm=0.0,
        failure_threshold=3)``. ``provider`` has ``load() -> model`` and, if need be, ``unload(model)`` and
        ``health(model) -> bool``; coroutines run on the event loop, plain functions in a thread. Its number
        ``cost``, if there is one, is what each lease costs. ``memory`` is what the loaded model takes, in
        bytes, ``instances`` how many steps may use it at once, ``backup`` the model that serves while this
        one is failed, ``keep_warm`` the seconds that it is kept when idle, ``failure_threshold`` the failed
        health checks in a row that make it failed.

    Example
    -------
    >>> @hookimpl
    ... def register_models(registry):
    ...     registry.add("wordllama", WordLlamaProvider(), memory=64 << 20)
    """


@hookspec(since=1)
def register_components(registry: ComponentRegistry) -> None:
    """Add native Pit component libraries.

    Called once in the probe, which opens each library in a child process of its own, and once in the
    managed interpreter before the Pit is opened. Since API 1.

    Parameters
    ----------
    registry:
        ``registry.add(path)`` takes the path of a shared library. Raises ``InvalidInput`` when there is
        no such file.

    Example
    -------
    >>> @hookimpl
    ... def register_components(registry):
    ...     registry.add(Path(__file__).with_name("libacme_vectors.so"))
    """


@hookspec(since=1, firstresult=True)
def conductor() -> Policy | None:
    """Give the scheduling policy; the first plugin that returns one wins, in the order of ``plugins.toml``.

    Called once when the managed interpreter loads the plugin, never in a step's path. Since API 1.

    Returns
    -------
    An object with ``order(ready, free)``, which returns the ready steps in the order to start them, or
    None to leave the choice to the next plugin.

    Example
    -------
    >>> @hookimpl
    ... def conductor():
    ...     return CriticalPathFirst()
    """


HOOKS: Final = tuple(sorted(TERMS))
