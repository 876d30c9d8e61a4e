"""JSON-RPC 2.0 over a stream: one document a line, requests in, answers and notifications out.

Knows nothing of the methods. Malformed input gets an error, never ends the process.
"""

from __future__ import annotations

import asyncio
import re
import traceback
from collections.abc import Awaitable, Callable
from json import dumps, loads  # by these names, since a plugin may put others into the module
from typing import Any, Final

from symphony.errors import InvalidInput, SymphonyError
from symphony.log_line import log_line

Handler = Callable[[str, dict[str, Any]], Awaitable[Any]]

LINE_LIMIT: Final = 16 * 1024 * 1024
# Notifications are dropped while the host does not read; answers never are.
_NOTIFY_LIMIT: Final = 1024 * 1024
_DIGITS: Final = 18
_HALVES: Final = re.compile("[\ud800-\udfff]")


class UnknownMethod(SymphonyError):
    """The other side asked for a method that this channel does not have."""

    exit_code = 3


class Channel:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._answering: set[asyncio.Task[None]] = set()

    async def serve(self, handler: Handler) -> None:
        """Answer requests, each in its own task, until the other side closes."""
        while True:
            try:
                line = await self._reader.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return
            except (asyncio.LimitOverrunError, ConnectionError) as error:
                log_line(f"the channel to the host broke: {error}")
                return
            task = asyncio.get_running_loop().create_task(self._answer(line, handler))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Tell the other side something; lost when it does not read."""
        transport = self._writer.transport
        if not transport.is_closing() and transport.get_write_buffer_size() < _NOTIFY_LIMIT:
            self._send({"jsonrpc": "2.0", "method": method, "params": params})

    async def flush(self) -> None:
        """Wait until everything that was said has been handed to the kernel."""
        try:
            await self._writer.drain()
            while self._writer.transport.get_write_buffer_size():
                await asyncio.sleep(0.001)
        except ConnectionError:
            pass  # the host has gone; nobody is left to tell

    async def _answer(self, line: bytes, handler: Handler) -> None:
        try:
            request = loads(line)
            method, params = request["method"], request.get("params") or {}
            if not isinstance(method, str) or not isinstance(params, dict):
                raise TypeError("method must be a string and params an object")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = str(error).partition(";")[0]  # behind it, Python says what its programmers may do
            refused = error_document(InvalidInput(f"not a request: {reason}"))
            self._send({"jsonrpc": "2.0", "id": _id_of(line), "error": {**refused, "code": -32600}})
            return
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request.get("id")}
        try:
            answer["result"] = await handler(method, params)
        except Exception as error:
            answer["error"] = error_document(error)
        if "id" in request:
            self._send(answer)

    def _send(self, document: dict[str, Any]) -> None:
        try:
            line = _line(document)
        except (TypeError, ValueError, RecursionError) as error:
            line = _refusal(document, f"the answer cannot be written as JSON: {error}")
        if len(line) > LINE_LIMIT:
            line = _refusal(document, f"the answer has {len(line)} bytes, a line has at most 16 MiB")
        self._writer.write(line)


def _id_of(line: bytes) -> Any:
    """Also where a number has more digits than Python reads: whoever asked must not wait for ever."""
    try:
        return loads(line, parse_int=lambda digits: int(digits[:_DIGITS]))["id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _line(document: dict[str, Any]) -> bytes:
    text = dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Half of a surrogate pair is no text to strict readers, not even escaped: its escape is shown.
    return _HALVES.sub(lambda half: f"\\\\u{ord(half[0]):04x}", text).encode() + b"\n"


def _refusal(document: dict[str, Any], message: str) -> bytes:
    """Whoever asked must not wait for ever."""
    error = error_document(InvalidInput(message, hint="ask for a part of it"))
    return _line({"jsonrpc": "2.0", "id": document.get("id"), "error": error})


def error_document(error: BaseException) -> dict[str, Any]:
    """The JSON-RPC error for an exception; an unforeseen one also leaves its traceback in the log."""
    hint, code = "", 1
    if isinstance(error, SymphonyError):
        hint, code = error.hint, error.exit_code
    else:
        log_line("".join(traceback.format_exception(error)).rstrip())
    number = -32601 if isinstance(error, UnknownMethod) else -32000
    return {
        "code": number,
        "message": str(error) or type(error).__name__,
        "data": {"type": type(error).__name__, "hint": hint, "exit": code},
    }
