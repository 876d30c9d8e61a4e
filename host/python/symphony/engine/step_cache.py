"""Results that later runs may use again: the cache of steps marked ``cache=True``.

An entry is an artifact named after the step, its code and its arguments. Within the process the same call
is made only once at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from symphony.engine.launching import Outcome, StepCall
from symphony.engine.run_log import CACHED, INLINE_LIMIT, OK, reference
from symphony.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from symphony.values.codec import Codec


class StepCache:
    """The cache of one interpreter."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._flights: dict[str, asyncio.Future[None]] = {}

    async def outcome(self, call: StepCall, execute: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """The outcome from the cache, or from ``execute``, whose success is then kept."""
        name = self._name(call)
        if name is None:
            return await execute()
        while True:
            hit = self._find(call, name)
            if hit is not None:
                return hit
            flight = self._flights.get(name)
            if flight is None:
                break
            await asyncio.shield(flight)
        self._flights[name] = asyncio.get_running_loop().create_future()
        try:
            outcome = await execute()
            if outcome.state == OK:
                artifact = call.log.store(outcome.encoded, name, call.key)
                return Outcome(OK, outcome.encoded, _payload(outcome.encoded, artifact))
            return outcome
        finally:
            # Those who wait look again: after a failure the next of them executes the step itself.
            self._flights.pop(name).set_result(None)

    def _name(self, call: StepCall) -> str | None:
        try:
            encoded = self._codec.encode(call.arguments())
        except ConversionError:  # arguments that do not fit their hints: the attempt will say so
            return None
        digest = hashlib.blake2b(digest_size=32)
        for part in (call.step.cache_name().encode(), encoded):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
        return f"cache/{digest.hexdigest()}"

    def _find(self, call: StepCall, name: str) -> Outcome | None:
        artifact = call.log.find(name)
        encoded = None if artifact is None else call.log.load(artifact)
        if artifact is None or encoded is None:
            return None
        return Outcome(CACHED, encoded, _payload(encoded, artifact))


def _payload(encoded: bytes, artifact: str) -> bytes:
    return b"=" + encoded if len(encoded) < INLINE_LIMIT else reference(artifact)
