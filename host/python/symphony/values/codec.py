"""The bridge's codec as the engine sees it: bytes out, an equal value back, nothing imported on the way."""

from __future__ import annotations

from typing import Protocol, cast


class Codec(Protocol):
    """``decode(encode(value))`` equals ``value``; records come back as ``values.Record``."""

    def encode(self, value: object, /) -> bytes: ...

    def decode(self, data: bytes, /) -> object: ...


def native_codec() -> Codec:
    """The codec of the native module."""
    from symphony import _host

    return cast("Codec", _host)
