"""What a plugin can tell the host: one function per hook, the docstring is its reference.

Plugins mark their functions with ``@symphony.hookimpl``; an implementation may take fewer arguments than
the hook, never more. Nothing here imports a plugin or the native module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pluggy

if TYPE_CHECKING:
    from symphony.plugins.registry import ComponentRegistry, ModelRegistry, WorkflowRegistry
    from symphony.scheduling import Policy

hookspec = pluggy.HookspecMarker("symphony")
hookimpl = pluggy.HookimplMarker("symphony")


@hookspec
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


@hookspec
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


@hookspec
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


@hookspec(firstresult=True)
def conductor() -> Policy | None:
    """Give the scheduling policy; the first plugin in order that returns one wins, or the user's choice.

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


HOOKS: Final = tuple(sorted(name for name, value in globals().items() if hasattr(value, "symphony_spec")))
