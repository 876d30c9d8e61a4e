"""How long after a step ended, or said how far it is, a subscriber of events is told."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from symphony import client
from symphony.home import Home
from tests.benchmarks.measure import Figure, figure, percentile, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGIN = Path(__file__).parent / "workload.py"
STEPS = 200


def event_figures() -> Iterator[Figure]:
    """Figures of ``events.subscribe``."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        with client.connect_or_start(home) as asking, client.connect_or_start(home) as told:
            try:
                yield from _figures(asking, told)
            finally:
                asking.request("host.stop")


def _figures(asking: client.Client, told: client.Client) -> Iterator[Figure]:
    events = told.subscribe(kinds=["step_finished", "progress", "run_finished"])
    order = {"workflow": "workload.clock", "inputs": {"length": STEPS}, "plugins": [str(PLUGIN)]}
    run = asking.request("workflows.run", order)["run"]
    arrived: list[float] = []
    progress: list[float] = []
    for event in events:
        if event["kind"] == "step_finished":
            arrived.append(time.time())
        elif event["kind"] == "progress":
            progress.append(time.time() - event["done"])
        else:
            break
    ended = asking.request("runs.wait", {"run": run})["result"]
    assert len(arrived) == len(ended) == STEPS
    assert len(progress) > STEPS // 2
    finished = [at - end for at, end in zip(arrived, ended, strict=True)]
    calls = [seconds(lambda: asking.request("host.status")) for _ in range(STEPS)]
    for name, delays in (("a step's end", finished), ("a step's progress", progress)):
        micros = [round(delay * 1e6) for delay in delays]
        spread = ", ".join(f"p{share * 100:g} {percentile(micros, share):,} µs" for share in (0.5, 0.99))
        yield figure(
            f"{name}, until a subscriber is told",
            "ms",
            "host.status over the same socket",
            [delay * 1e3 for delay in delays],
            [call * 1e3 for call in calls[: len(delays)]],
            target="value < 10 ms",
            note=spread,
        )
