"""The interpreter's end of its channel: whoever asks gets an answer, whatever the answer is."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from symphony.channel import LINE_LIMIT, Channel

pytestmark = [pytest.mark.unit, pytest.mark.python, getattr(pytest.mark, "async")]


def exchange(result: Any, params: str = "{}") -> dict[str, Any]:
    """The answer to a request whose method returns ``result``."""

    async def handler(method: str, params: dict[str, Any]) -> Any:
        return result

    async def talk() -> bytes:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=theirs)
        our_reader, our_writer = await asyncio.open_connection(sock=ours, limit=2 * LINE_LIMIT)
        serving = asyncio.ensure_future(Channel(reader, writer).serve(handler))
        our_writer.write(f'{{"jsonrpc": "2.0", "id": 7, "method": "m", "params": {params}}}\n'.encode())
        line = await our_reader.readuntil(b"\n")
        our_writer.close()
        await serving
        writer.close()
        return line

    document: dict[str, Any] = json.loads(asyncio.run(talk()))
    return document


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def test_a_plugin_that_puts_other_functions_into_json_changes_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json, "dumps", lambda *_, **__: b"bytes")
    assert exchange(3)["result"] == 3


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("x" * LINE_LIMIT, "a line has at most 16 MiB"),
        (float("nan"), "cannot be written as JSON"),
        (object(), "cannot be written as JSON"),
        (nested(100_000), "cannot be written as JSON"),
    ],
    ids=["large", "no number", "no JSON", "deep"],
)
def test_what_cannot_be_sent_is_an_error_of_its_request(result: Any, message: str) -> None:
    answer = exchange(result)
    assert answer["id"] == 7
    assert message in answer["error"]["message"]
    assert answer["error"]["data"]["type"] == "InvalidInput"


def test_what_can_be_sent_is() -> None:
    assert exchange({"value": "ä\ud800"})["result"]["value"] == "ä\\ud800"  # half of a pair is no text


def test_what_python_does_not_read_is_an_error_of_its_request() -> None:
    answer = exchange(None, '{"value": ' + "9" * 5000 + "}")
    assert answer["id"] == 7
    assert answer["error"]["data"]["type"] == "InvalidInput"
    assert "4300 digits" in answer["error"]["message"]
