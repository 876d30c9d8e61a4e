"""What a plugin can tell the host: one function per hook, the docstring is its reference.

Plugins mark their functions with ``@symphony.hookimpl``; an implementation may take fewer arguments than
the hook, never more. Nothing here imports a plugin or the native module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable

    from symphony.observing.events import RunEvent, StepEvent
    from symphony.plugins.registry import (
        CommandRegistry,
        ComponentRegistry,
        ModelRegistry,
        WorkflowRegistry,
    )
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


@hookspec(since=1)
def register_commands(registry: CommandRegistry) -> None:
    """Add commands to the command line ``symphony``.

    Called once in the probe, which stores name and help, once in the managed interpreter, and once in the
    process of each command. Since API 1.

    ``symphony NAME ...`` runs the command in a process of its own, with the terminal attached and without a
    Pit; its exit code is that of ``symphony``. The full name ``plugin.name`` always works. The short name is
    that of a core command first, then of the plugin that is first in order. A file plugin has no commands.

    Parameters
    ----------
    registry:
        ``registry.add(command)`` takes a command or group of click. Its context's ``obj`` is a
        ``symphony.Host`` for the home of the command line, not connected before it is used. ``--json``,
        ``--home`` and ``--traceback`` are understood by every command; an error of ``symphony.errors`` is
        shown with its hint, as one JSON document with ``--json``, and ends the command with its exit code. A
        command that has more to say as JSON declares an option ``--json`` of its own. Raises ``InvalidInput``
        for anything else, a name that cannot be typed, and a name that was added before.

    Example
    -------
    >>> @click.command(help="Count the files of a folder.")
    ... @click.argument("folder")
    ... @click.pass_obj
    ... def census(host, folder):
    ...     click.echo(host.run("geo.count", path=folder).value)
    >>> @hookimpl
    ... def register_commands(registry):
    ...     registry.add(census)
    """


@hookspec(since=1)
def run_started(run: RunEvent) -> None:
    """Observe that a run was accepted.

    Called in the managed interpreter, after the run was recorded, for each run of the home, whatever plugin
    it is of; plain functions on a thread of the plugin's own, coroutines on an event loop of that thread. No
    step waits for it: the events come from the log, some milliseconds after they were recorded, up to a
    quarter of a second where nothing happened before. One plugin gets all its events one after the other, in
    the order of the log. Since API 1.

    Each event is told at least once. Where the plugin is in the log is kept in the home: after a death, a
    restart, or a time in which it was not loaded, it goes on where it was, as far as the log goes back. A
    plugin that is new, or was uninstalled, begins with what happens after it was loaded first.

    An event comes a second time only if the interpreter died while the plugin was being told of it; then its
    ``position`` is the same. After the second such death it is left out. Of a plugin that is more than 65,536
    events behind, further ones are lost: ``symphony host logs`` and ``symphony plugins info`` say how many.
    What it raises harms nothing and is told there.

    Parameters
    ----------
    run:
        A ``symphony.RunEvent``: ``id``, ``workflow``, ``status``, ``time``, ``position``.

    Example
    -------
    >>> @hookimpl
    ... def run_started(run):
    ...     print(run.time, run.workflow, run.id)
    """


@hookspec(since=1)
def run_finished(run: RunEvent) -> None:
    """Observe that a run has ended.

    Called as ``run_started`` is, after the end was recorded. A run that waits, or that cannot go on, has not
    ended. Since API 1.

    Parameters
    ----------
    run:
        A ``symphony.RunEvent``, with ``status`` ``completed``, ``failed`` or ``cancelled``, the ``seconds``
        since it was accepted and, of a failed run, the ``error``: its ``type`` and ``message``.

    Example
    -------
    >>> @hookimpl
    ... async def run_finished(run):
    ...     if run.error:
    ...         await notify(f"{run.workflow} failed: {run.error.message}")
    """


@hookspec(since=1)
def step_started(step: StepEvent) -> None:
    """Observe that an attempt of a step begins.

    Called as ``run_started`` is, for each attempt: also for one that begins again after a death. A step whose
    result comes from the cache does not start. Since API 1.

    Parameters
    ----------
    step:
        A ``symphony.StepEvent``: ``run``, ``workflow``, ``key``, ``name``, ``attempt``, ``state``, ``time``,
        ``position``.

    Example
    -------
    >>> @hookimpl
    ... def step_started(step):
    ...     print(step.run, step.key, step.attempt)
    """


@hookspec(since=1)
def step_finished(step: StepEvent) -> None:
    """Observe that a step has its outcome.

    Called as ``run_started`` is, once for each step, after the outcome was recorded; not for an attempt that
    failed and is repeated. A step that is stopped together with its run has no outcome. Since API 1.

    Parameters
    ----------
    step:
        A ``symphony.StepEvent``, with ``state`` ``completed``, ``failed``, ``cached``, ``skipped`` or
        ``cancelled``, the ``seconds`` of its last attempt and, of a failed step, the ``error``.

    Example
    -------
    >>> @hookimpl
    ... def step_finished(step):
    ...     durations.labels(step.name, step.state).observe(step.seconds or 0.0)
    """


@hookspec(since=1, firstresult=True)
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


HOOKS: Final = tuple(sorted(TERMS))
