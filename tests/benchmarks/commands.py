"""The command line as whole processes: cold (a host is started) and warm, against Python itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.measure import Figure, figure, seconds
from tests.fixtures.wheel_writer import source_of, unpack, write_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGIN = Path(__file__).parent / "workload.py"
REPEATS = 7
CROWD = 100
SYMPHONY = [sys.executable, "-m", "symphony"]


def call(*command: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **(environment or {})}
    )
    return done.stdout


def crowd_figures() -> Iterator[Figure]:
    """Figures of commands with a hundred plugins installed, against the same with none."""
    with tempfile.TemporaryDirectory() as folder:
        site, wheels = Path(folder, "site"), Path(folder, "wheels")
        site.mkdir()
        for number in range(CROWD):
            unpack(write_wheel(wheels, f"crowd-{number}", source_of("good")), site)
        alone = {"SYMPHONY_HOME": f"{folder}/alone", "PYTHONPATH": ""}
        crowded = {"SYMPHONY_HOME": f"{folder}/crowded", "PYTHONPATH": str(site)}
        for environment in (alone, crowded):
            call(*SYMPHONY, "plugins", "list", environment=environment)  # probes them
        time.sleep(2.5)  # what has changed only now is not relied on
        for environment, lines in ((alone, 0), (crowded, CROWD)):
            rows = call(*SYMPHONY, "plugins", "list", environment=environment).splitlines()
            assert sum(row.startswith("crowd-") for row in rows) == lines
        for words in (["--version"], ["--help"], ["plugins", "list"]):
            taken: list[float] = []
            bare: list[float] = []
            for _ in range(REPEATS):
                for environment, times in ((crowded, taken), (alone, bare)):
                    command = partial(call, *SYMPHONY, *words, environment=environment)
                    times.append(seconds(command) * 1e3)
            name = f"symphony {' '.join(words)}, {CROWD} plugins"
            yield figure(name, "ms", "the same with none", taken, bare, target="≤ 1.2")


def command_figures() -> Iterator[Figure]:
    """Figures of whole commands."""
    with tempfile.TemporaryDirectory() as home:
        environment = {"SYMPHONY_HOME": home}
        run = [*SYMPHONY, "run", "workload.nothing", "--plugin", str(PLUGIN), "--json"]

        def symphony(*words: str) -> str:
            return call(*words, environment=environment)

        assert json.loads(symphony(*run))["status"] == "completed"
        warm, bare = [], []
        for _ in range(REPEATS):
            warm.append(seconds(lambda: symphony(*run)) * 1e3)
            bare.append(seconds(lambda: call(sys.executable, "-c", "pass")) * 1e3)
        yield figure("symphony run of a no-op, host warm", "ms", "python -c pass", warm, bare, target="≤ 4")
        cold, started = [], []
        for _ in range(REPEATS):
            symphony(*SYMPHONY, "host", "stop")
            cold.append(seconds(lambda: symphony(*run)) * 1e3)
            started.append(seconds(lambda: call(sys.executable, "-c", "import asyncio")) * 1e3)
        yield figure(
            "symphony run of a no-op, cold",
            "ms",
            'python -c "import asyncio"',
            cold,
            started,
            target="≤ 4 (later)",
        )
        symphony(*SYMPHONY, "host", "stop")
        for words, answer, target in (
            (["--version"], "symphony ", "≤ 2.5"),
            (["--help"], "Usage: symphony", "≤ 6"),
            (["plugins", "list"], "NAME ", "≤ 6"),
        ):
            taken, bare = [], []
            assert symphony(*SYMPHONY, *words).startswith(answer)
            for _ in range(REPEATS):
                taken.append(seconds(lambda words=words: symphony(*SYMPHONY, *words)) * 1e3)  # type: ignore[misc]
                bare.append(seconds(lambda: call(sys.executable, "-c", "pass")) * 1e3)
            yield figure(f"symphony {' '.join(words)}", "ms", "python -c pass", taken, bare, target=target)
