"""The native module: the durable codec, and the Pit.

The methods of a Pit's components come from their method tables when it is opened; `symphony.pit_types` says
what those of the core components are.
"""

from asyncio import AbstractEventLoop
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, Literal, final, type_check_only

from symphony.pit_types import CorePit

__version__: Final[str]
ABI: Final[tuple[int, int]]

@final
class Pit(CorePit):
    """A loaded Pit. Components are attributes by their short name, items by their id."""

    @property
    def closed(self) -> bool: ...
    @property
    def durability(self) -> Literal["machine", "process"]:
        """What the records survive."""
    def __getattr__(self, name: str) -> Any: ...
    def __getitem__(self, id: str, /) -> Any: ...
    def components(self) -> list[dict[str, Any]]:
        """What ``symphony pit list --json`` shows."""
    def damage(self) -> list[tuple[str, int, str, str]]:
        """Damaged places of the log that were set aside when it was opened: (file, offset, what, folder)."""
    def disabled(self) -> list[tuple[str, str, str]]:
        """Components that were left out: (id, reason, the note to remove to have them tried again)."""
    def uncovered(self) -> int:
        """Bytes of the log that the oldest snapshot does not cover."""
    def log_end(self) -> int:
        """Position behind the last record of the log so far."""
    def retire(self, before: int) -> tuple[int, int]:
        """Let go of segments of the log that end before a position and that the components can do without.

        Gives how many, and how many records of them are kept beside the log.
        """
    def flush(self) -> None:
        """Wait until everything recorded so far is on the disk. Many who wait at once share one flush."""
    def call(self, component: str, method: str, args: list[Any]) -> Any:
        """Call a method by names. Raises NotFound for an unknown component or method."""
    def serve_callouts(
        self, event_loop: AbstractEventLoop, handler: Callable[[str, str, list[Any]], object]
    ) -> None:
        """Answer what components ask for: ``handler(component, name, args)`` is called in the loop.

        A component that waits for the answer (``symphony.ask/1``) gets what the handler returns, or what the
        coroutine that it returns gives or raises; the coroutine is cancelled when the component gives up.
        ``NotImplemented`` says that the name is unknown. Where a component does not wait, the handler must
        not raise. Whoever serves last is the one that is asked, until its loop is closed.
        """
    def close(self) -> None:
        """Give the lease back; further calls raise PitUnavailable."""

@final
@type_check_only
class Handle:
    """Something that a component keeps for its caller: given back to its methods, let go when collected."""

    def __index__(self) -> int: ...

@final
class RunEvents:
    """What the log of a home tells of runs and steps, from a position on.

    It reads the files of the log; whoever records waits for nothing.
    """

    def __new__(cls, home: str, start: int) -> RunEvents: ...
    def take(
        self, most: int
    ) -> tuple[
        list[
            tuple[
                tuple[str, int, int],
                tuple[str, str],
                tuple[str, str, int] | None,
                str,
                int | None,
                bytes | None,
            ]
        ],
        int,
    ]:
        """About so many events since the last call, and how many were lost since there were too many.

        Each is (hook, position, time), (run, workflow), (key, name, attempt) of a step, state, the time when
        that began which ends, the record of a failure. Times in microseconds since the epoch.

        Raises PitCorrupt, PitIO.
        """

@final
class Vitals:
    """How this interpreter is, in memory that its host reads. To be made on the thread of the event loop.

    ``descriptor`` is the memory; without one nobody sees it.
    """

    def __new__(cls, descriptor: int | None = None) -> Vitals: ...
    def beat(self) -> None:
        """The event loop goes round."""
    def beat_lock(self) -> None:
        """The Python lock can be had."""
    def answers_on(self, signal: int) -> None:
        """Upon this signal a thread says whether it holds the Python lock."""
    def dumps_on(self, signal: int) -> None:
        """Upon this signal the stacks are written."""
    @staticmethod
    def catch_crashes() -> None:
        """Note signal and step of a crash, then do what was to be done before."""
    def alone(self, alone: bool) -> None:
        """The step in flight is executed with nothing beside it, from now on or no longer."""
    def begin(
        self, run: str, workflow: str, plugin: str, name: str, attempt: int, timeout: float, key: str
    ) -> int:
        """A step begins; gives its number, 0 where there is no room for one more."""
    def end(self, step: int) -> None:
        """It has ended."""
    def enter(self, step: int) -> None:
        """From now on this thread executes code of the step."""
    def leave(self) -> None:
        """And no more. Ends a forked child of the interpreter."""
    def enter_thread(self, starter: int) -> None:
        """From now on this thread, which the step started, executes what it was made for."""
    def leave_thread(self) -> None:
        """And no more."""

def encode(value: Any) -> bytes:
    """The durable form of a value. Raises ConversionError, which names the path to what has none."""

def decode(data: bytes) -> Any:
    """The value that ``encode`` was given. Raises TypeMissing, ValueError for other bytes."""

def describe(library: str) -> dict[str, Any]:
    """Open a component library, check it, describe it; none of its functions runs. Raises Incompatible."""

def open_pit(
    home: str,
    libraries: list[str],
    log_segment_bytes: int = 0,
    notify: tuple[int, int] | None = None,
    create_timeout: timedelta = ...,
    durability: str = "process",
    flush_interval: timedelta = ...,
    log_backend: str | None = None,
) -> Pit:
    """Take the Pit lease of a home, open its log, load the libraries and replay the log into them.

    ``create_timeout`` is how long a component may take to come into being. With the durability "machine",
    records that somebody flushed survive a loss of power, else all but those of the last ``flush_interval``.
    ``log_backend`` forces "mmap" or "pwrite" where the probe of the file system would choose.

    Raises PitUnavailable (another process holds the lease), Incompatible, Conflict, PitError (a component
    could not be created), PitCorrupt, HostUnavailable.
    """

def compact(home: str, libraries: list[str]) -> list[tuple[str, int, int]]:
    """Turn the log of a home into snapshots, without its lease: (component, position, bytes) of each."""

def inspect(home: str) -> dict[str, Any]:
    """What is in the log of a home, without its lease and without changing anything."""

def async_counts() -> dict[str, int]:
    """Operations ``created`` and ``dropped``, ``signals`` sent to loops, wakes ``late`` for a closed one."""

def lease_holder(home: str) -> int | None:
    """Process that holds the Pit lease of a home, if any."""

def end_forked_child() -> None:
    """End this process if it is a forked child of one that had a Pit open."""

def watch_parent(descriptor: int) -> None:
    """End this process when the peer of a socket goes away. A native thread does it."""
