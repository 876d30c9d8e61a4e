"""All executors by name, the core's and those of plugins, each with its slots and its waiting steps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from symphony.engine import core_executors
from symphony.engine.core_executors import ASYNC, THREAD, OnThreads
from symphony.engine.lane import CORE, Lane, RegisteredExecutor
from symphony.errors import NotFound
from symphony.plugins.loading import collect
from symphony.plugins.lookup import unknown_executor
from symphony.plugins.namespace import Namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from symphony.engine.launching import StepCall
    from symphony.plugins.namespace import Offer


class Lanes:
    """The executors that steps can run on.

    Parameters
    ----------
    slots:
        Of the core's executors, by name.
    report:
        Called with a line where one does not close.
    """

    def __init__(
        self, slots: Mapping[str, int], loop: asyncio.AbstractEventLoop, report: Callable[[str], None]
    ) -> None:
        self._report = report
        self._loop = loop
        core = collect(CORE, [core_executors], only=("register_executors",)).executors.items
        self._core: Final = {
            name: Lane(RegisteredExecutor(name, CORE, offered.executor, slots.get(name, offered.slots)))
            for name, offered in core.items()
        }
        self._plugins: dict[str, Lane] = {}
        self._all = tuple(self._core.values())
        self._names = Namespace([])
        self._found: dict[tuple[str, str], Lane] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._async, self._thread = self._core[ASYNC], self._core[THREAD]

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._all)

    def waiting(self) -> Iterator[StepCall]:
        """The steps that wait for a slot."""
        return (call for lane in self for call in lane.queue)

    @property
    def has_waiting(self) -> bool:
        for lane in self._all:  # noqa: SIM110  # a generator costs three times as much, for each step
            if lane.queue:
                return True
        return False

    def of(self, call: StepCall) -> Lane:
        """Where a step runs: where it says, else where its run says, else on the loop or in a thread.

        One that leases a model stays in this process unless it says otherwise.

        Raises
        ------
        NotFound
            There is no such executor; the hint says which plugin to install, or the closest name.
        """
        options = call.step.options
        name = options.executor
        if name is None and options.model is None:
            name = call.executor
        if name is None:
            return self._async if call.step.is_async else self._thread
        return self.find(name, call.plugin, call.givers, f"step {call.key}")

    def find(self, name: str, plugin: str, givers: Mapping[str, str], who: str) -> Lane:
        """The executor that a name means in the code of a plugin; ``givers`` are those of the run once."""
        lane = self._found.get((name, plugin))
        if lane is None:
            offer = self._names.find("executor", name, plugin=plugin)
            if offer is None:
                raise self._missing(name, givers, f"{who} is to run on the executor {name!r}")
            lane = self._found[name, plugin] = self._lane(offer)
        return lane

    def of_run(self, name: str, hidden: Collection[str]) -> Lane:
        """The executor that a name means for a new run, for which some plugins count as not there."""
        offer = self._names.find("executor", name, hidden=hidden)
        if offer is None:
            raise unknown_executor(f"there is no executor {name!r}", name, self._names)
        return self._lane(offer)

    def _lane(self, offer: Offer) -> Lane:
        return self._core[offer.name] if offer.plugin == CORE else self._plugins[offer.full]

    def _missing(self, name: str, givers: Mapping[str, str], what: str) -> NotFound:
        giver = next((givers[full] for full in givers if name in (full, full.partition(".")[2])), None)
        if giver is None:
            return unknown_executor(f"{what}, which nothing gives", name, self._names)
        return NotFound(
            f"{what} of plugin {giver}, which is not loaded",
            hint=f"symphony plugins install {giver}, or see symphony plugins info {giver}",
        )

    def givers(self) -> dict[str, str]:
        """The plugin of each executor that is not the core's."""
        return {name: lane.registered.plugin for name, lane in self._plugins.items()}

    def take_over(self, executors: Iterable[RegisteredExecutor], names: Namespace) -> list[StepCall]:
        """These are all that plugins give now; the answer are the steps that waited for those that go."""
        plugins: dict[str, Lane] = {}
        for registered in executors:
            lane = self._plugins.get(registered.name)
            known = lane is not None and lane.registered.executor is registered.executor
            plugins[registered.name] = lane if known and lane is not None else Lane(registered)
        left: list[StepCall] = []
        for lane in self._plugins.values():
            if plugins.get(lane.name) is not lane:
                left += lane.queue
                lane.queue.clear()
                self._retire(lane)
        self._plugins, self._names = plugins, names
        self._found.clear()
        self._all = (*self._core.values(), *plugins.values())
        return left

    def _retire(self, lane: Lane) -> None:
        def close() -> None:
            task = self._loop.create_task(lane.close(self._report))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

        lane.closing = close
        if lane.free == lane.registered.slots:
            close()

    async def close(self) -> None:
        """Close all executors, at once."""
        await asyncio.gather(*[lane.close(self._report) for lane in self], *self._closing)

    def join(self, seconds: float) -> None:
        """After ``close``: wait for threads of steps, but not longer than so many seconds."""
        if isinstance(self._thread.registered.executor, OnThreads):
            self._thread.registered.executor.join(seconds)
