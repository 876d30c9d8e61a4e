"""Builds the native side of the benchmarks, optimised as what is shipped."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def native_libraries() -> tuple[Path, Path]:
    """What the Pit is compared with, a Python module; and the component ``symphony.shapes``."""
    packages = ["--package=symphony-bench", "--package=symphony-shapes"]
    command = ["cargo", "build", "--release", "--quiet", *packages]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "PYO3_PYTHON": sys.executable})
    built = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    return built / "libsymphony_bench.so", built / "libsymphony_shapes.so"


def imported(library: Path) -> Any:
    """The Python module ``symphony_bench`` in this library."""
    loader = importlib.machinery.ExtensionFileLoader("symphony_bench", str(library))
    spec = importlib.util.spec_from_file_location("symphony_bench", library, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
