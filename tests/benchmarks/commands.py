"""The command line as whole processes: cold (a host is started) and warm, against Python itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.measure import Figure, figure, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGIN = Path(__file__).parent / "workload.py"
REPEATS = 7
SYMPHONY = [sys.executable, "-m", "symphony"]


def call(*command: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **(environment or {})}
    )
    return done.stdout


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
