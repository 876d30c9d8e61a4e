"""The native module: the durable codec, and the Pit.

The methods of a Pit's components come from their method tables when it is opened, so they are `Any` here.
"""

from typing import Any, Final

__version__: Final[str]
ABI: Final[tuple[int, int]]

class Pit:
    """A loaded Pit. Components are attributes by their short name, items by their id."""

    @property
    def closed(self) -> bool: ...
    def __getattr__(self, name: str) -> Any: ...
    def __getitem__(self, id: str) -> Any: ...
    def components(self) -> list[dict[str, Any]]:
        """What ``symphony pit list --json`` shows."""
    def damage(self) -> list[tuple[str, int, str]]:
        """Damaged places of the log that were set aside when it was opened: (file, offset, copy)."""
    def call(self, component: str, method: str, args: list[Any]) -> Any:
        """Call a method by names. Raises NotFound for an unknown component or method."""
    def close(self) -> None:
        """Give the lease back; further calls raise PitUnavailable."""

def encode(value: Any) -> bytes:
    """The durable form of a value. Raises ConversionError, which names the path to what has none."""

def decode(data: bytes) -> Any:
    """The value that ``encode`` was given. Raises ValueError for other bytes."""

def describe(library: str) -> dict[str, Any]:
    """Open a component library, check it, describe it; none of its functions runs. Raises Incompatible."""

def open_pit(
    home: str,
    libraries: list[str],
    log_segment_bytes: int = 0,
    notify: tuple[int, int] | None = None,
) -> Pit:
    """Take the Pit lease of a home, open its log, load the libraries and replay the log into them.

    Raises PitUnavailable (another process holds the lease), Incompatible, Conflict, PitCorrupt,
    HostUnavailable.
    """

def lease_holder(home: str) -> int | None:
    """Process that holds the Pit lease of a home, if any."""

def watch_parent(descriptor: int) -> None:
    """End this process when the peer of a socket goes away. A native thread does it."""
