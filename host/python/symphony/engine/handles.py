"""Handles: what a step call gives to workflow code, and the arguments it was called with.

A handle belongs to the deterministic loop of its run; only the run's driver completes it.
"""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, Protocol, TypeVar

from symphony.errors import ConversionError, WorkflowError

if TYPE_CHECKING:
    from symphony.engine.run_loop import RunLoop
    from symphony.values.codec import Codec
    from symphony.workflows import Step

R = TypeVar("R")
Place = tuple[Any, ...]

_INLINE_FINGERPRINT: Final = 512


class HandleOwner(Protocol):
    """The run, as its handles see it."""

    def handle_cancelled(self, handle: Handle[Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class Edge:
    """Where in the arguments the result of another step goes."""

    place: Place
    handle: Handle[Any]


class Arguments:
    """The arguments of a step call, by value, with handles as edges.

    Encoded at the call, so that what workflow code does to its objects later is not seen by the step, and
    decoded anew for each attempt.
    """

    __slots__ = ("edges", "encoded", "fingerprint")

    def __init__(
        self, codec: Codec, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        edges: list[Edge] = []
        parts: Any = (args, kwargs)
        if not (_CARRIERS.isdisjoint(map(type, args)) and _CARRIERS.isdisjoint(map(type, kwargs.values()))):
            parts = _without_handles(parts, (), edges)
        try:
            self.encoded = codec.encode(parts)
            whole = (
                codec.encode((parts, [(edge.place, edge.handle.key) for edge in edges]))
                if edges
                else self.encoded
            )
        except ConversionError as error:
            raise ConversionError(f"step {step.name!r}: {error}", hint=error.hint) from None
        self.edges = edges
        self.fingerprint = _fingerprint(whole)

    def decode(self, codec: Codec, step: Step[..., Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Fresh objects for one attempt; all edges must be done."""
        parts: Any = codec.decode(self.encoded)
        for edge in self.edges:
            parts = _with_value(parts, edge.place, edge.handle.fresh_result(codec))
        args, kwargs = parts
        return step.coerce_arguments(args, kwargs)


def _fingerprint(encoded: bytes) -> bytes:
    """The bytes while they are short, since they are shown when code has changed; else their hash."""
    if len(encoded) <= _INLINE_FINGERPRINT:
        return b"=" + encoded
    return b"#" + len(encoded).to_bytes(8, "big") + hashlib.blake2b(encoded, digest_size=32).digest()


def shown_call(codec: Codec, name: str, fingerprint: bytes) -> str:
    """A recorded or new call, for a person."""
    if fingerprint[:1] == b"#":
        return f"{name}(arguments of {int.from_bytes(fingerprint[1:9], 'big'):,} bytes)"
    try:
        decoded: Any = codec.decode(fingerprint[1:])
        edges: list[Any] = []
        if len(decoded) == 2 and isinstance(decoded[1], list):
            decoded, edges = decoded
        for place, key in edges:
            decoded = _with_value(decoded, tuple(place), _Name(key))
        args, kwargs = decoded
        shown = [*map(repr, args), *(f"{key}={value!r}" for key, value in kwargs.items())]
    except Exception:  # a record of another version of the codec: the message must still be made
        return f"{name}(...)"
    return f"{name}({', '.join(shown)})"


class _Name:
    def __init__(self, key: str) -> None:
        self.key = key

    def __repr__(self) -> str:
        return f"<{self.key}>"


def _without_handles(value: Any, place: Place, edges: list[Edge]) -> Any:
    kind = type(value)
    if kind is Handle:
        edges.append(Edge(place, value))
        return None
    if kind not in _CONTAINERS or _CARRIERS.isdisjoint(map(type, value.values() if kind is dict else value)):
        return value
    if kind is list or kind is tuple:
        return kind(_without_handles(item, (*place, index), edges) for index, item in enumerate(value))
    return {key: _without_handles(item, (*place, key), edges) for key, item in value.items()}


def _with_value(container: Any, place: Place, value: Any) -> Any:
    if not place:
        return value
    first, rest = place[0], place[1:]
    inner = _with_value(container[first], rest, value)
    if isinstance(container, tuple):
        return (*container[:first], inner, *container[first + 1 :])
    container[first] = inner
    return container


class Handle(asyncio.Future[R], Generic[R]):
    """The result of a step call, to be awaited or passed to another step.

    Cancelling the handle, or whoever awaits it, stops the step (``asyncio.shield`` keeps it running).

    Example
    -------
    >>> page = fetch("https://example.org")
    >>> vector = await embed(page)
    """

    def __init__(
        self, loop: RunLoop, owner: HandleOwner, key: str, step: Step[..., R], arguments: Arguments
    ) -> None:
        self.key: Final = key
        self._hash: Final = zlib.crc32(key.encode())
        super().__init__(loop=loop)
        self.step = step
        self.owner = owner
        self.fingerprint: Final = arguments.fingerprint
        self.arguments: Arguments | None = arguments
        self.waiting = 0
        self.encoded = b""
        self.skipped = False
        self.unheeded = False
        self.deps: Final = list(dict.fromkeys(edge.handle for edge in arguments.edges))

    @property
    def name(self) -> str:
        return self.step.name

    def __hash__(self) -> int:
        # Sets of handles must iterate alike on every replay; an address would not do.
        return self._hash

    def __iter__(self) -> NoReturn:
        raise WorkflowError(f"handle of step {self.name!r} cannot be iterated", hint="await it first")

    def __bool__(self) -> bool:
        raise WorkflowError(f"handle of step {self.name!r} has no truth value", hint="await it first")

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the handle at once and stop its step; its outcome is not recorded."""
        if not super().cancel(msg):
            return False
        self.owner.handle_cancelled(self)
        return True

    def fresh_result(self, codec: Codec) -> R:
        """The result as recorded, for a step that takes it: every consumer gets an object of its own."""
        value: Any = codec.decode(self.encoded)
        result: R = value if self.skipped else self.step.coerce_result(value)
        return result

    def succeed(self, encoded: bytes, value: R) -> None:
        self.encoded = encoded
        self.arguments = None
        self.set_result(value)

    def skip(self, encoded: bytes, value: Any) -> None:
        """A person skipped the step: the value is not what its hint says."""
        self.skipped = True
        self.succeed(encoded, value)

    def fail(self, error: Exception) -> None:
        # A failure that nothing waited for can be taken back while nobody has looked at it.
        self.unheeded = not self._callbacks
        if not self.unheeded:
            self.arguments = None
        self.set_exception(error)

    @property
    def retriable(self) -> bool:
        """Whether the step has failed, and nothing in the workflow knows."""
        return self.unheeded and self.done() and not self.cancelled() and self._log_traceback

    def reopen(self) -> None:
        """The failure is taken back."""
        assert self.retriable
        asyncio.Future.__init__(self, loop=self._loop)

    @property
    def unseen_failure(self) -> BaseException | None:
        """The exception of a handle that nobody looked at."""
        if not self.done() or self.cancelled() or not self._log_traceback:
            return None
        return self.exception()

    def __repr__(self) -> str:
        state = "pending" if not self.done() else "cancelled" if self.cancelled() else "done"
        return f"<handle {self.key} {state}>"


_CONTAINERS: Final = frozenset({list, tuple, dict})
_CARRIERS: Final = _CONTAINERS | {Handle}
