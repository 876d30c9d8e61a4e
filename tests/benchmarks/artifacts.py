"""The Artifact Store against files, SQLite and numpy, and with a million artifacts."""

from __future__ import annotations

import itertools
import os
import random
import sqlite3
from functools import partial
from typing import TYPE_CHECKING, Any

import lmdb
import numpy as np
from blake3 import blake3

from tests.benchmarks.measure import Figure, figure, pairs, seconds
from tests.benchmarks.memory import resident_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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


def _next(work: Callable[[list[bytes]], None], batches: Iterator[list[bytes]]) -> None:
    work(next(batches))


def small_figures(store: Any, folder: Path) -> Iterator[Figure]:
    """Put and get of 1 KiB, one after the other, each put recorded or committed by itself."""
    database = sqlite3.connect(folder / "baseline.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("CREATE TABLE content (id INTEGER PRIMARY KEY, bytes BLOB)")

    def by_store(contents: list[bytes]) -> None:
        for content in contents:
            assert store.get(store.put(content)) == content

    def by_sqlite(contents: list[bytes]) -> None:
        for content in contents:
            key = database.execute("INSERT INTO content (bytes) VALUES (?)", [content]).lastrowid
            row = database.execute("SELECT bytes FROM content WHERE id = ?", [key]).fetchone()
            assert row[0] == content

    with lmdb.open(str(folder / "lmdb"), map_size=1 << 30, sync=False) as environment:

        def by_lmdb(contents: list[bytes]) -> None:
            for content in contents:
                key = content[-8:]
                with environment.begin(write=True) as writing:
                    assert writing.put(key, content)
                with environment.begin() as reading:
                    assert reading.get(key) == content

        for baseline, name, target in (
            (by_sqlite, "SQLite WAL (NORMAL) insert + select", "≤ 0.5"),
            (by_lmdb, "LMDB without sync, put + get", "≤ 1.2"),
        ):
            batches = iter([_contents(SMALL) for _ in range(2 * REPEATS + 2)])
            left, right = pairs(partial(_next, by_store, batches), partial(_next, baseline, batches), REPEATS)
            yield figure(
                "put + get of a 1 KiB artifact",
                "µs",
                name,
                [value / SMALL * 1e6 for value in left],
                [value / SMALL * 1e6 for value in right],
                target=target,
            )
    database.close()


def large_figures(store: Any, folder: Path) -> Iterator[Figure]:
    """Write and zero-copy read of a large artifact."""
    contents = [os.urandom(LARGE) for _ in range(5)]

    def hash_and_write(number: int) -> str:
        digest = blake3(contents[number]).hexdigest()
        (folder / f"plain-{number}").write_bytes(contents[number])
        return str(digest)

    for number, content in enumerate(contents):
        assert hash_and_write(number) == store.put(content)
        store.delete(store.put(content), force=True)
        (folder / f"plain-{number}").unlink()
    taken = []
    for number, content in enumerate(contents):
        sides = [partial(store.put, content), partial(hash_and_write, number)]
        order = sides if number % 2 else sides[::-1]  # who comes first finds other pages in the cache
        times = {side: seconds(side) for side in order}
        taken.append((times[sides[0]], times[sides[1]]))
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
