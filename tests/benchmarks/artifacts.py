"""The Artifact Store against files, SQLite and numpy, and with a million artifacts."""

from __future__ import annotations

import itertools
import os
import random
import sqlite3
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.benchmarks.measure import Figure, figure, pairs, seconds
from tests.benchmarks.memory import resident_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SMALL = 1_000
"""Artifacts of a round of puts and gets."""
REPEATS = 7
LARGE = 100 << 20
MANY = 1_000_000
PAGE = 100
_numbers = itertools.count()
_WORDS = [f"word{number}" for number in range(5_000)]


def _contents(count: int) -> list[bytes]:
    return [os.urandom(1_016) + next(_numbers).to_bytes(8, "little") for _ in range(count)]


def small_figure(store: Any, folder: Path) -> Figure:
    """Put and get of 1 KiB, one after the other."""
    database = sqlite3.connect(folder / "baseline.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("CREATE TABLE content (id INTEGER PRIMARY KEY, bytes BLOB)")

    def by_store() -> None:
        for content in _contents(SMALL):
            assert store.get(store.put(content)) == content

    def by_sqlite() -> None:
        for content in _contents(SMALL):
            key = database.execute("INSERT INTO content (bytes) VALUES (?)", [content]).lastrowid
            row = database.execute("SELECT bytes FROM content WHERE id = ?", [key]).fetchone()
            assert row[0] == content

    left, right = pairs(by_store, by_sqlite, REPEATS)
    per_item = [[value / SMALL * 1e6 for value in side] for side in (left, right)]
    return figure(
        "put + get of a 1 KiB artifact",
        "µs",
        "SQLite WAL insert + select",
        per_item[0],
        per_item[1],
        target="≤ 0.5",
        note="the baseline commits each insert, as the store records each put",
    )


def large_figures(store: Any, direct: Any, folder: Path) -> Iterator[Figure]:
    """Write and zero-copy read of a large artifact; ``direct`` has the bare hash and write."""
    contents = [os.urandom(LARGE) for _ in range(3)]
    for number, content in enumerate(contents):
        assert direct.hash_and_write(str(folder / f"plain-{number}"), content) == store.put(content)
        store.delete(store.put(content), force=True)
    taken = []
    for number, content in enumerate(contents):
        stored = seconds(partial(store.put, content))
        bare = seconds(partial(direct.hash_and_write, str(folder / f"plain-{number}"), content))
        taken.append((stored, bare))
    yield figure(
        f"write of a {LARGE >> 20} MiB artifact",
        "ms",
        "BLAKE3 + plain file write",
        [pair[0] * 1e3 for pair in taken],
        [pair[1] * 1e3 for pair in taken],
        target="≤ 1.2",
    )
    large, small = store.put(contents[0]), store.put(b"k" * 1024)
    assert bytes(store.read(large)[-9:]) == contents[0][-9:]
    rounds = range(200)
    left, right = pairs(
        lambda: [store.read(large).release() for _ in rounds],
        lambda: [store.read(small).release() for _ in rounds],
        REPEATS,
    )
    yield figure(
        f"zero-copy read of a {LARGE >> 20} MiB artifact",
        "µs",
        "of a 1 KiB artifact",
        [value / len(rounds) * 1e6 for value in left],
        [value / len(rounds) * 1e6 for value in right],
        target="≤ 2",
    )
    mapped = folder / "plain-0"

    def by_store() -> int:
        return int(np.frombuffer(store.read(large), np.uint8).sum())

    def by_numpy() -> int:
        return int(np.memmap(mapped, np.uint8, "r").sum())

    assert by_store() == by_numpy()
    left, right = pairs(by_store, by_numpy, REPEATS)
    yield figure(
        "sum over its bytes",
        "ms",
        "numpy.memmap",
        [value * 1e3 for value in left],
        [value * 1e3 for value in right],
        target="≤ 1.1",
    )


def _fill(store: Any, prefix: str, count: int) -> float:
    """Named artifacts of a few words each. Gives the seconds it took."""
    chance = random.Random(count)

    def fill() -> None:
        for number in range(count):
            text = f"{prefix}{number} {' '.join(chance.choices(_WORDS, k=6))}"
            store.put(text.encode(), name=f"{prefix}/{number:08}", media_type="text/plain")

    return seconds(fill)


def many_figures(few: Any, many: Any) -> Iterator[Figure]:
    """List and search among many artifacts; ``few`` and ``many`` are two stores."""
    _fill(few, "few", 1_000)
    before = resident_bytes()
    taken = _fill(many, "many", MANY)
    assert len(many.search(f"many{MANY - 1}")) == 1  # waits until all are indexed
    note = (
        f"filled with {MANY / taken:,.0f} puts a second; "
        f"{(resident_bytes() - before) / MANY:.0f} bytes of memory an artifact"
    )
    middle = f"many/{MANY // 2:08}"
    assert [row["name"] for row in many.list("many/", limit=PAGE, after=middle)] == [
        f"many/{MANY // 2 + 1 + at:08}" for at in range(PAGE)
    ]
    left, right = pairs(
        lambda: many.list("many/", limit=PAGE, after=middle),
        lambda: few.list("few/", limit=PAGE, after="few/00000500"),
        REPEATS,
    )
    yield figure(
        f"a page of {PAGE} out of {MANY:,} artifacts",
        "µs",
        "out of 1,000",
        [value * 1e6 for value in left],
        [value * 1e6 for value in right],
        note=note,
    )
    wanted = f"many{MANY // 3}"
    assert [row["name"] for row in many.search(wanted)] == [f"many/{MANY // 3:08}"]
    left, right = pairs(lambda: many.search(wanted), lambda: few.search("few333"), REPEATS)
    yield figure(
        f"full-text search for one word among {MANY:,} artifacts",
        "µs",
        "among 1,000",
        [value * 1e6 for value in left],
        [value * 1e6 for value in right],
    )
    words = f"{_WORDS[17]} {_WORDS[18]}"
    left, right = pairs(lambda: many.search(words, limit=20), lambda: few.search(words, limit=20), REPEATS)
    yield figure(
        f"ranked search for two frequent words among {MANY:,} artifacts",
        "µs",
        "among 1,000",
        [value * 1e6 for value in left],
        [value * 1e6 for value in right],
    )


def replay_figure(home: Path, libraries: list[str]) -> Figure:
    """Opening a Pit with that many records, against reading its log."""
    from symphony import _host

    log = sorted((home / "pit" / "log").glob("*.seg"))
    records = sum(_host.inspect(str(home))["records"].values())

    opened = _host.open_pit(str(home), libraries)
    assert opened.artifact_store.stats()["names"] * 2 == records, "a content and a name for each put"
    opened.close()

    def replay() -> None:
        _host.open_pit(str(home), libraries).close()

    def read() -> None:
        assert sum(len(path.read_bytes()) for path in log) > 0

    left, right = pairs(replay, read, 3)
    return figure(
        f"replay of {records:,} records",
        "ms",
        "reading the log's files",
        [value * 1e3 for value in left],
        [value * 1e3 for value in right],
        target="≤ 10 (of 1,000,000)",
    )
