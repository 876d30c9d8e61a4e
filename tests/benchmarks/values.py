"""What a value costs on its way into a component and back, beside JSON and MessagePack."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.benchmarks.calls import compare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.measure import Figure

NESTED: dict[str, Any] = {
    "id": "run-01m82sfxs6nb47z2j55m9t3j0w",
    "steps": [
        {
            "name": f"step {number}",
            "done": number % 2 == 0,
            "seconds": number / 8,
            "after": [number - 1, None],
        }
        for number in range(50)
    ],
    "labels": {f"label {number}": number for number in range(20)},
}
JSON = "json.loads(json.dumps(x))"
MSGPACK = "msgspec msgpack, decode(encode(x))"


def value_figures(shapes: Any) -> Iterator[Figure]:
    """There and back by ``shapes.echo``, which makes a ``Value`` of what it gets, and by ``shapes.copied``.

    A ``Value`` is a tree that a component can change, with memory of its own for each text and container:
    JSON and MessagePack, which hold everything in one piece of text or bytes in between, make none.
    ``copied`` makes one piece too, so that its rows show what the bridge itself costs; both are measured.
    """
    import msgspec

    pack, unpack = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
    names: dict[str, Any] = {
        "echo": shapes.echo,
        "copied": shapes.copied,
        "dumps": json.dumps,
        "loads": json.loads,
    }
    names |= {"pack": pack, "unpack": unpack, "size": shapes.size}

    def there_and_back(name: str, value: Any, baseline: str, by: str = "echo", **options: Any) -> Figure:
        names["x"] = value
        statement = {JSON: "loads(dumps(x))", MSGPACK: "unpack(pack(x))"}[baseline]
        back = names[by](value)
        assert back == value
        assert type(back) is type(value)
        return compare(name, f"{by}(x)", statement, dict(names), label=baseline, **options)

    yield there_and_back("int there and back", 123_456, JSON)
    yield there_and_back("float there and back", 0.125, JSON)
    for size, share in ((16, 1), (1 << 10, 2), (64 << 10, 50)):
        text = "a" * size
        yield there_and_back(f"str of {size:,} there and back", text, JSON, target="≤ 0.3", share=share)
        yield there_and_back(f"bytes of {size:,} there and back", text.encode(), MSGPACK, share=share)
    nested = "nested containers there and back"
    note = "a dict of 240 values, three deep"
    for by, way in (("echo", "through a Value"), ("copied", "copied in one piece")):
        said = f"{note}, {way}"
        yield there_and_back(nested, NESTED, JSON, by, target="≤ 0.5", share=100, note=said)
        yield there_and_back(nested, NESTED, MSGPACK, by, target="≤ 1.5", share=100, note=said)
    for kind in (bytes, memoryview):
        names |= {"large": kind(bytes(16 << 20)), "small": kind(bytes(16))}
        assert shapes.size(names["large"]) == 16 << 20
        assert shapes.size(names["small"]) == 16
        yield compare(
            f"{kind.__name__} of 16 MiB in",
            "size(large)",
            "size(small)",
            dict(names),
            label="16 bytes in",
            target="1 (no copy)",
            share=1_000,
        )
