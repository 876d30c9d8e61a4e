"""Timing in pairs: subject and baseline take turns within one run, since machines differ and are noisy."""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

Timed = Callable[[], object]


@dataclass(frozen=True)
class Figure:
    """One line of the table: ``ratio`` is value over baseline (for rates as well)."""

    name: str
    value: float
    unit: str
    baseline: str
    baseline_value: float
    ratio: float
    repeats: int
    target: str = ""
    note: str = ""

    def line(self) -> str:
        return json.dumps({name: item for name, item in asdict(self).items() if item != ""})


def seconds(function: Timed) -> float:
    gc.collect()
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def pairs(subject: Timed, baseline: Timed, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of each, in turns, after one warm-up of both."""
    subject()
    baseline()
    taken = [(seconds(subject), seconds(baseline)) for _ in range(repeats)]
    return [pair[0] for pair in taken], [pair[1] for pair in taken]


def figure(
    name: str,
    unit: str,
    baseline: str,
    values: list[float],
    baselines: list[float],
    *,
    target: str = "",
    note: str = "",
) -> Figure:
    """Medians, and the median of the ratios pair by pair."""
    ratios = [value / other for value, other in zip(values, baselines, strict=True)]
    return Figure(
        name,
        round(statistics.median(values), 4),
        unit,
        baseline,
        round(statistics.median(baselines), 4),
        round(statistics.median(ratios), 3),
        len(values),
        target,
        note,
    )


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
