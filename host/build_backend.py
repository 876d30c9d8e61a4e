"""PEP 517 backend: builds Pit components and symphonyd into the Python package, then hands over to maturin.

maturin builds one extension module; the components are libraries of their own, opened at run time, and
symphonyd is a program, so both go in as files of the package. Editable installs get them the same way.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import maturin

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "host" / "python" / "symphony"
COMPONENTS = ("pool_manager", "dag_tracker", "artifact_store", "arbitration_engine", "stale_manager")
SUFFIX = ".dylib" if sys.platform == "darwin" else ".so"

get_requires_for_build_wheel = maturin.get_requires_for_build_wheel
get_requires_for_build_editable = maturin.get_requires_for_build_editable
get_requires_for_build_sdist = maturin.get_requires_for_build_sdist
prepare_metadata_for_build_wheel = maturin.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = maturin.prepare_metadata_for_build_editable
build_sdist = maturin.build_sdist


def _install(source: Path, target: Path) -> None:
    """Replace the file by a new one: a running process may have the old one mapped."""
    target.parent.mkdir(exist_ok=True)
    temporary = target.with_suffix(".new")
    shutil.copy2(source, temporary)
    temporary.replace(target)


def check_interpreter() -> None:
    """Refuse, before minutes of compilation, an interpreter that the bridge cannot work in."""
    if sys.platform == "win32":
        sys.exit("Symphony does not support Windows yet.")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        sys.exit(
            "Symphony does not support free-threaded builds of CPython: the bridge relies on the global "
            "interpreter lock. Use a build without the suffix t."
        )


def _build_native() -> None:
    check_interpreter()
    packages = [f"--package=symphony-{name.replace('_', '-')}" for name in COMPONENTS]
    command = ["cargo", "build", "--release", "--locked", "--package=symphony-host", "--bin=symphonyd"]
    for arguments in (command, [*command[:4], "--lib", *packages]):
        subprocess.run(arguments, cwd=ROOT, check=True)
    built = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    for name in COMPONENTS:
        _install(built / f"libsymphony_{name}{SUFFIX}", PACKAGE / "_components" / f"{name}{SUFFIX}")
    _install(built / "symphonyd", PACKAGE / "_bin" / "symphonyd")
    _install(ROOT / "pit" / "include" / "symphony_pit.h", PACKAGE / "_include" / "symphony_pit.h")


def build_wheel(
    wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None
) -> str:
    """Build a wheel with everything native inside."""
    _build_native()
    return str(maturin.build_wheel(wheel_directory, config_settings, metadata_directory))


def build_editable(
    wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None
) -> str:
    """Build the native parts in place, and a wheel that points here."""
    _build_native()
    return str(maturin.build_editable(wheel_directory, config_settings, metadata_directory))
