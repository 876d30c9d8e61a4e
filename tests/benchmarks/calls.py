"""What a Pit call costs beside the plainest builtins, and beside other ways to the same native code."""

from __future__ import annotations

import ctypes
import gc
import json
import math
import socket
import subprocess
import sys
import time
import timeit
from contextlib import closing
from typing import TYPE_CHECKING, Any

from tests.benchmarks.measure import Figure, Timed, figure, pairs, percentile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALLS = 100_000
REPEATS = 9
LIMIT = 10_000.0
"""Nanoseconds that no FAST call of up to four scalars may take."""


def looped(statement: str, names: dict[str, Any], calls: int) -> Timed:
    timer = timeit.Timer(statement, globals=names)
    return lambda: timer.timeit(calls)


def nanoseconds(values: list[float], calls: int) -> list[float]:
    return [value / calls * 1e9 for value in values]


def compare(
    name: str,
    subject: str,
    baseline: str,
    names: dict[str, Any],
    *,
    label: str,
    target: str = "",
    note: str = "",
    share: int = 1,
) -> Figure:
    """Nanoseconds of two statements; ``share`` divides the number of calls of slow ones."""
    calls = max(CALLS // share, 10)
    left, right = pairs(looped(subject, names, calls), looped(baseline, names, calls), REPEATS)
    values, baselines = nanoseconds(left, calls), nanoseconds(right, calls)
    return figure(name, "ns", label, values, baselines, target=target, note=note)


def call_figures(shapes: Any, direct: Any) -> Iterator[Figure]:
    """Figures of calls; ``shapes`` is the component, ``direct`` has the same body as ``#[pyfunction]``."""
    assert shapes.ping() is None
    assert shapes.add("abc", 4) == direct.add("abc", 4) == 7
    assert math.gcd(12, 18) == 6
    names = {
        "ping": shapes.ping,
        "add": shapes.add,
        "direct": direct.add,
        "gcd": math.gcd,
        "enabled": gc.isenabled,
    }
    none, add = "Pit call, no arguments", "Pit call (str, int) → int"
    yield compare(none, "ping()", "enabled()", names, label="gc.isenabled()", target="≤ 1.5")
    yield compare(
        add, 'add("abc", 4)', 'direct("abc", 4)', names, label="direct #[pyfunction]", target="≤ 1.25"
    )
    yield compare(add, 'add("abc", 4)', "gcd(12, 18)", names, label="math.gcd(12, 18)", target="≤ 2")
    yield compare(
        "the same by keyword",
        'add(text="abc", number=4)',
        'add("abc", 4)',
        names,
        label="Pit call, positional",
    )
    yield latency_figure(shapes)


def latency_figure(shapes: Any) -> Figure:
    """Each call by itself, with the clock around it."""
    call, clock = shapes.four, time.perf_counter_ns
    assert call(1, 2.5, True, "abc") == 7.5
    taken: list[float] = []
    gc.collect()
    for _ in range(CALLS):
        start = clock()
        call(1, 2.5, True, "abc")
        taken.append(clock() - start)
    p99 = percentile(taken, 0.99)
    mean = sum(taken) / len(taken)
    return figure(
        "Pit call, 4 scalars, mean and p99",
        "ns",
        "10 µs",
        [mean, p99],
        [LIMIT, LIMIT],
        target="< 1, both",
        note=f"mean {mean:.0f} ns, p50 {percentile(taken, 0.5):.0f} ns, p99 {p99:.0f} ns, "
        f"p99.9 {percentile(taken, 0.999):.0f} ns, the clock included",
    )


SERVER = """
import json, socket, sys
connection = socket.socket(fileno=int(sys.argv[1]))
lines = connection.makefile("rwb")
for line in lines:
    request = json.loads(line)
    text, number = request["params"]
    lines.write(json.dumps({"id": request["id"], "result": len(text) + number}).encode() + b"\\n")
    lines.flush()
"""


class SocketAdd:
    """The same function in another process, behind a Unix socket and JSON."""

    def __init__(self) -> None:
        own, other = socket.socketpair(socket.AF_UNIX)
        with other:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVER, str(other.fileno())], pass_fds=[other.fileno()]
            )
        with own:
            self.lines = own.makefile("rwb")
        self.number = 0

    def __call__(self, text: str, number: int) -> int:
        self.number += 1
        request = {"id": self.number, "method": "add", "params": [text, number]}
        self.lines.write(json.dumps(request).encode() + b"\n")
        self.lines.flush()
        answer = json.loads(self.lines.readline())
        assert answer["id"] == self.number
        return int(answer["result"])

    def close(self) -> None:
        self.lines.close()
        self.process.wait()


def other_ways(shapes: Any, library: Path) -> Iterator[Figure]:
    """The same function by ctypes, by cffi and over a socket; ``library`` exports ``bench_add`` for C."""
    import cffi

    through_ctypes = ctypes.CDLL(str(library)).bench_add
    through_ctypes.argtypes, through_ctypes.restype = (ctypes.c_char_p, ctypes.c_int64), ctypes.c_int64
    interface = cffi.FFI()
    interface.cdef("int64_t bench_add(const char *text, int64_t number);")
    exported: Any = interface.dlopen(str(library))
    through_cffi = exported.bench_add
    assert shapes.add("abc", 4) == through_ctypes(b"abc", 4) == through_cffi(b"abc", 4) == 7
    names = {"add": shapes.add, "ctypes_add": through_ctypes, "cffi_add": through_cffi}
    pit = 'add("abc", 4)'
    for label in ("ctypes", "cffi"):
        statement = f'{label}_add("abc".encode(), 4)'
        yield compare(f"the same by {label}", statement, pit, names, label="Pit call")
    yield socket_figure(shapes)


def socket_figure(shapes: Any) -> Figure:
    with closing(SocketAdd()) as over_socket:
        assert over_socket("abc", 4) == shapes.add("abc", 4) == 7
        names = {"add": shapes.add, "over_socket": over_socket}
        statement = 'over_socket("abc", 4)'
        return compare(
            "the same by Unix socket and JSON", statement, 'add("abc", 4)', names, label="Pit call", share=100
        )


def pool_figure(pool: Any) -> Figure:
    """Taking and giving back a lease of a hot model, against two Pit calls that do nothing."""
    pool.register("bench", "", 0, 4)
    pool.warm("bench")
    pool.warmed("bench", 0.0)
    names = {"acquire": pool.try_acquire, "release": pool.release, "ping": pool.ping}
    lease = pool.try_acquire("bench")
    assert isinstance(lease, int)
    pool.release(lease)
    return compare(
        "pool try_acquire + release, hot",
        'release(acquire("bench"))',
        "ping(); ping()",
        names,
        target="≤ 3",
        label="two Pit calls",
    )
