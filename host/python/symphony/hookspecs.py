"""What a plugin can tell the host: one function per hook, the docstring is its reference.

Plugins mark their functions with ``@symphony.hookimpl``; an implementation may take fewer arguments than
the hook, never more. Nothing here imports a plugin or the native module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from symphony.engine.middleware import Middleware
    from symphony.observing.events import RunEvent, StepEvent
    from symphony.pit_access import PitAccess
    from symphony.plugins.configuration import PluginConfig
    from symphony.plugins.registry import (
        CommandRegistry,
        ComponentRegistry,
        ExecutorRegistry,
        ModelRegistry,
        TypeRegistry,
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
def configure(config: PluginConfig) -> None:
    """Read and check the plugin's settings.

    Called once, before any other hook, in the managed interpreter and in each process of steps. Not in the
    probe and in the process of a command, which know no settings: the names that a plugin registers cannot
    depend on them. A setting of a plugin without this hook is an error. Since API 1.

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


@hookspec(since=1)
def register_types(registry: TypeRegistry) -> None:
    """Add codecs of domain types: their values cross into Pit calls, records and results, and come back.

    Called once in the probe, in the managed interpreter and in each process of steps. What is registered
    counts from the end of the plugin's loading until the plugin is dropped. A run that holds a value of a
    type whose plugin is gone is left as it is, and says which plugin it needs. Since API 1.

    Parameters
    ----------
    registry:
        ``registry.add(kind, *more, encode=None, decode=None, name="")`` as ``symphony.register_types``. A
        type is called ``plugin:Class`` in records, which outlive the code: ``name`` is for classes that
        move. Raises ``InvalidInput`` for a class without fields or codec and for one that was added before,
        ``Conflict`` for one that crosses by itself, such as ``datetime``. A class or name that another plugin
        gave makes the plugin a ``conflict``.

    Example
    -------
    >>> @hookimpl
    ... def register_types(registry):
    ...     registry.add(Money, encode=lambda money: money.cents, decode=Money)
    """


@hookspec(since=1)
def register_executors(registry: ExecutorRegistry) -> None:
    """Say where steps may run.

    Called once in the probe and once in the managed interpreter; nothing is to be started by it. A step runs
    there by ``@symphony.step(executor="name")``, all steps of a run that name none by ``symphony run
    --executor NAME``, which is recorded with the run. NAME is ``plugin.name``, or the last part alone, by
    which the core's own (``async``, ``thread``, ``process``) come first, then the plugin that comes first.
    Since API 1.

    Parameters
    ----------
    registry:
        ``registry.add(name, executor)`` takes an object that is made as ``symphony.executors.Executor`` says:
        ``slots``, ``async submit(task)``, ``async close()``. Raises ``InvalidInput`` for anything else and
        for a name that was added before.

    Example
    -------
    >>> class Inline:
    ...     slots = 1
    ...
    ...     async def submit(self, task):
    ...         return await asyncio.to_thread(task.run_blocking)
    ...
    ...     async def close(self):
    ...         pass
    >>> @hookimpl
    ... def register_executors(registry):
    ...     registry.add("inline", Inline())
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


@hookspec(since=1)
def step_middleware() -> Middleware | None:
    """Give an ``async def middleware(call, next)`` that is wrapped around each attempt of each step.

    Called once when the managed interpreter loads the plugin, not in the probe. The middleware itself runs
    on the interpreter's loop, which it must not block, wherever the step runs: the plugin that comes first is
    the outermost. It is within the step's ``timeout`` and its cache: neither a step that is reused nor one
    whose outcome is recorded is seen by it again. Since API 1.

    Returns
    -------
    An async function. ``call`` has ``run``, ``workflow``, ``plugin``, ``key``, ``name``, ``attempt``,
    ``executor``, ``args`` and ``kwargs`` of the step. ``await next(call)`` runs it and gives its result, or
    raises what it raised; what the middleware returns is the result that is recorded. It may await ``next``
    several times, or never, or with ``dataclasses.replace(call, args=...)``. What it raises by itself fails
    the attempt as ``PluginFailed``, which names the plugin.

    Example
    -------
    >>> @hookimpl
    ... def step_middleware():
    ...     async def timed(call, next):
    ...         began = time.perf_counter()
    ...         try:
    ...             return await next(call)
    ...         finally:
    ...             seconds[call.name] = time.perf_counter() - began
    ...
    ...     return timed
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


@hookspec(since=1)
def interpreter_started(home: Path, pit: PitAccess) -> None:
    """Begin: all plugins are loaded and the Pit is open, and no step has started.

    Called once in each managed interpreter, also in the one that follows a death, and in the process of
    ``Host(isolated=False)``; for a plugin that is loaded later, right after that. An async implementation
    runs on the interpreter's loop, which it must not block, any other in a thread of its own. All plugins
    are called at once; what takes longer than 5 s is reported and not waited for. What it raises is reported,
    and nothing else follows from it. Since API 1.

    Parameters
    ----------
    home:
        The home folder.
    pit:
        The Pit, as ``symphony.pit``.

    Example
    -------
    >>> @hookimpl
    ... async def interpreter_started(home):
    ...     global connection
    ...     connection = await connect(home / "cache.db")
    """


@hookspec(since=1)
def interpreter_stopping(home: Path, pit: PitAccess) -> None:
    """End: no step runs any more, and the Pit is still open.

    Called once where ``interpreter_started`` was due, when the interpreter is stopped and not when it dies:
    nothing that must not be lost can depend on it. Runs as that hook does, and has 1 s. Since API 1.

    Parameters
    ----------
    home:
        The home folder.
    pit:
        The Pit, as ``symphony.pit``.

    Example
    -------
    >>> @hookimpl
    ... async def interpreter_stopping():
    ...     await connection.close()
    """


HOOKS: Final = tuple(sorted(TERMS))
