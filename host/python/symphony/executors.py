"""Where steps run: what an executor is, for plugins that bring one by ``register_executors``.

The core's own, ``async``, ``thread`` and ``process``, are executors as any other (``engine.core_executors``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from symphony.engine.launching import Outcome

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures
    from collections.abc import Awaitable, Callable

__all__ = ["Executor", "Outcome", "StepTask", "execute"]


class StepTask(Protocol):
    """One attempt of one step, for an executor to run in one of three ways, once.

    ``key`` is the same in every attempt and after every death, ``attempt`` counts from 1, ``timeout`` is what
    one attempt may take in seconds (the engine sees to it), ``is_async`` whether the step is a coroutine
    function.
    """

    @property
    def run(self) -> str: ...
    @property
    def workflow(self) -> str: ...
    @property
    def plugin(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def timeout(self) -> float | None: ...
    @property
    def is_async(self) -> bool: ...

    def run_here(self) -> Awaitable[Outcome]:
        """Awaited, run an async step on this loop; it has the Pit. Raises ``InvalidInput`` for any other."""
        ...

    def run_blocking(self) -> Outcome:
        """Run the step in the calling thread of this process; it has the Pit."""
        ...

    def pack(self) -> bytes:
        """All that ``symphony.executors.execute`` needs in another process, where there is no Pit.

        The step is named by module and qualified name, its arguments are in the bridge's codec: nothing is
        pickled. Plugins are imported there, so they have to be installed; the content of a file goes along.

        Raises
        ------
        InvalidInput
            The step is made inside a function or in ``__main__``, or leases a model.
        """
        ...

    def report(self, done: float, total: float, message: str) -> None:
        """Pass on what ``symphony.progress`` was told in another process; may be called from any thread."""
        ...

    def hold(self, until: concurrent.futures.Future[Any] | asyncio.Future[Any]) -> None:
        """Keep the slot until this is done, also when ``submit`` ends sooner: a thread may go on."""
        ...


class Executor(Protocol):
    """Runs steps somewhere. Making one must start nothing: the probe makes it, too.

    Parameters
    ----------
    slots:
        How many steps it runs at once; read when it is registered.

    Example
    -------
    >>> class Inline:
    ...     slots = 1
    ...     async def submit(self, task):
    ...         return await asyncio.to_thread(task.run_blocking)
    ...     async def close(self):
    ...         pass
    """

    slots: int

    async def submit(self, task: StepTask) -> Outcome:
        """Run one step, and give what ``run_here``, ``run_blocking`` or ``execute`` gave.

        Called on the interpreter's loop, which it must not block. What the step raises is in the outcome; an
        exception of ``submit`` itself fails the step in the executor's name. CancelledError in here means
        that nobody wants the outcome any more: stop what can be stopped, and raise it on. The slot stays
        taken until ``submit`` has ended.
        """
        ...

    async def close(self) -> None:
        """Let go of everything, within a second. No step is on the executor any more, or it was cancelled."""
        ...


def execute(
    packed: bytes,
    report: Callable[[float, float, str], None] | None = None,
    reveal: Callable[[str], str] | None = None,
) -> Outcome:
    """Run a packed step in this process, which needs no host and no Pit; not where an event loop runs.

    Parameters
    ----------
    packed:
        What ``StepTask.pack`` gave.
    report:
        Called with what the step says by ``symphony.progress``.
    reveal:
        Gives the value of a secret by its source; without it, it is read here.

    Returns
    -------
    Outcome
        Also for a step that raised. It can be pickled.
    """
    from symphony.engine.packed_step import execute_packed

    return execute_packed(packed, report, reveal)
