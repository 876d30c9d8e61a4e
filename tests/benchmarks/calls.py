"""What a Pit call costs beside the plainest builtin, and beside the same body as a direct function."""

from __future__ import annotations

import gc
import math
import timeit
from typing import TYPE_CHECKING, Any

from tests.benchmarks.measure import Figure, Timed, figure, pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS = 100_000
REPEATS = 9


def looped(statement: str, names: dict[str, Any]) -> Timed:
    timer = timeit.Timer(statement, globals=names)
    return lambda: timer.timeit(CALLS)


def nanoseconds(values: list[float]) -> list[float]:
    return [value / CALLS * 1e9 for value in values]


def compare(
    name: str, subject: str, baseline: str, names: dict[str, Any], *, target: str, label: str | None = None
) -> Figure:
    left, right = pairs(looped(subject, names), looped(baseline, names), REPEATS)
    return figure(name, "ns", label or baseline, nanoseconds(left), nanoseconds(right), target=target)


def call_figures(bench: Any, direct: Any) -> Iterator[Figure]:
    """Figures of calls; ``bench`` is the component, ``direct`` the same bodies as ``#[pyfunction]``."""
    assert bench.ping() is None
    assert bench.add("abc", 4) == direct.add("abc", 4) == 7
    assert math.gcd(12, 18) == 6
    names = {
        "ping": bench.ping,
        "add": bench.add,
        "direct": direct.add,
        "gcd": math.gcd,
        "enabled": gc.isenabled,
    }
    yield compare(
        "Pit call, no arguments", "ping()", "enabled()", names, target="≤ 1.5", label="gc.isenabled()"
    )
    yield compare(
        "Pit call (str, int) → int",
        'add("abc", 4)',
        'direct("abc", 4)',
        names,
        target="≤ 1.25",
        label="direct #[pyfunction]",
    )
    yield compare(
        "Pit call (str, int) → int",
        'add("abc", 4)',
        "gcd(12, 18)",
        names,
        target="≤ 2",
        label="math.gcd(12, 18)",
    )


def pool_figure(pool: Any) -> Figure:
    """Taking and giving back a lease of a hot model, against one Pit call."""
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
        "ping()",
        names,
        target="≤ 3",
        label="one Pit call",
    )
