"""Run the benchmarks: one JSON line per figure on stdout, with --write FILE also a table in Markdown.

.venv/bin/python tests/benchmarks/run.py [--write docs/benchmarks.md]
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from symphony import __version__, _host  # noqa: E402
from symphony.core_components import core_components  # noqa: E402
from tests.benchmarks import artifacts  # noqa: E402
from tests.benchmarks.awaits import await_figures  # noqa: E402
from tests.benchmarks.calls import call_figures, other_ways, pool_figure  # noqa: E402
from tests.benchmarks.commands import command_figures, crowd_figures  # noqa: E402
from tests.benchmarks.events import event_figures  # noqa: E402
from tests.benchmarks.graphs import graph_figures  # noqa: E402
from tests.benchmarks.history import history_figure  # noqa: E402
from tests.benchmarks.leases import lease_figures  # noqa: E402
from tests.benchmarks.measure import Figure, figure, percentile  # noqa: E402
from tests.benchmarks.native_build import imported, native_libraries  # noqa: E402
from tests.benchmarks.observed import observed_figure  # noqa: E402
from tests.benchmarks.processes import process_figures  # noqa: E402
from tests.benchmarks.steps import machine_figures, step_figures  # noqa: E402
from tests.benchmarks.values import value_figures  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator


def log_figure(direct: Any, folder: str) -> Figure:
    appends, copies = direct.log_append(folder, 200_000, 128)
    assert len(appends) == len(copies) == 200_000
    turns = range(0, len(appends), 1_000)
    spread = ", ".join(f"p{share * 100:g} {percentile(appends, share)} ns" for share in (0.5, 0.99, 0.999))
    return figure(
        "log append, 128 bytes, from Rust",
        "ns",
        "copy + CRC of 128 bytes",
        [sum(appends[at : at + 1_000]) / 1_000 for at in turns],
        [sum(copies[at : at + 1_000]) / 1_000 for at in turns],
        target="≤ 4",
        note=spread + "; both include the clock",
    )


def log_replay_figure(direct: Any, folder: str) -> Figure:
    replays, readings = direct.log_replay(folder, 1_000_000, 128, 5)
    return figure(
        "replay of 1,000,000 records of 128 bytes by the log, from Rust",
        "ms",
        "reading its files once",
        [value * 1e3 for value in replays],
        [value * 1e3 for value in readings],
        target="≤ 10",
    )


def artifact_figures() -> Iterator[Figure]:
    core = [str(path) for path in core_components()]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        few, many = _host.open_pit(folder, core), _host.open_pit(other, core)
        yield from artifacts.small_figures(few.artifact_store, Path(folder))
        yield from artifacts.large_figures(few.artifact_store, Path(folder))
        yield from artifacts.many_figures(few.artifact_store, many.artifact_store)
        few.close()
        many.close()
        yield artifacts.replay_figure(Path(other), core)


def figures() -> Iterator[Figure]:
    library, shapes = native_libraries()
    direct = imported(library)
    with tempfile.TemporaryDirectory() as folder:
        pit = _host.open_pit(folder, [*map(str, core_components()), str(shapes), str(library)])
        yield from call_figures(pit.shapes, direct)
        yield from other_ways(pit.shapes, library)
        yield from value_figures(pit.shapes)
        yield from await_figures(pit["symphony.bench"], direct)
        yield pool_figure(pit.pool_manager)
        yield from lease_figures(pit)
        yield from step_figures(pit)
        yield from observed_figure(pit, Path(folder))
        yield from graph_figures(pit.dag_tracker)
        pit.close()
    with tempfile.TemporaryDirectory() as folder:
        pit = _host.open_pit(folder, [str(path) for path in core_components()], durability="machine")
        yield from machine_figures(pit)
        pit.close()
    yield from artifact_figures()
    with tempfile.TemporaryDirectory() as folder:
        yield log_figure(direct, folder)
    with tempfile.TemporaryDirectory() as folder:
        yield log_replay_figure(direct, folder)
    yield from history_figure()
    yield from command_figures()
    yield from crowd_figures()
    yield from event_figures()
    yield from process_figures()


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    model = next(models, platform.machine())
    rust = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split()[
        1
    ]
    return (
        f"{os.cpu_count()} × {model}, {platform.system()} {platform.release().partition('-')[0]}, "
        f"CPython {platform.python_version()}, Rust {rust}, Symphony {__version__}"
    )


def table(rows: list[Figure]) -> str:
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Ratios are against a baseline in the same run, medians of the pairs;",
        "absolute figures differ by machine and by hour.",
        "",
        f"Machine: {machine()}.",
        "",
        "| what | value | baseline | its value | ratio | target | repeats |",
        "| --- | ---: | --- | ---: | ---: | --- | ---: |",
    ]
    for row in rows:
        value, other = f"{row.value:,.4g} {row.unit}", f"{row.baseline_value:,.4g} {row.unit}"
        cells = [row.name, value, row.baseline, other, f"{row.ratio:.2f}", row.target, str(row.repeats)]
        lines.append(f"| {' | '.join(cells)} |")
    notes = [f"{row.name}: {row.note}." for row in rows if row.note]
    return "\n".join([*lines, "", *notes, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the benchmarks of Symphony.")
    parser.add_argument("--write", type=Path, help="also write a table in Markdown to this file")
    options = parser.parse_args()
    rows = []
    for row in figures():
        rows.append(row)
        print(row.line(), flush=True)
    if options.write:
        options.write.write_text(table(rows))


if __name__ == "__main__":
    main()
