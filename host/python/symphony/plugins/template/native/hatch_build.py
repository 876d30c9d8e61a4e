"""Build the component with cargo and put it into the package, for wheels and editable installs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SUFFIX = ".dylib" if sys.platform == "darwin" else ".so"


class BuildComponent(BuildHookInterface):
    """Runs before the files of the wheel are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the library; the wheel is then for this platform, and for every Python."""
        manifest = ["--manifest-path", str(Path(self.root, "native", "Cargo.toml"))]
        subprocess.run(["cargo", "build", "--release", *manifest], check=True)
        command = ["cargo", "metadata", "--no-deps", "--format-version", "1", *manifest]
        metadata = subprocess.run(command, check=True, capture_output=True)
        built = Path(json.loads(metadata.stdout)["target_directory"], "release")
        package = Path(self.root, "symphony_acme")
        library = package / f"lib{package.name}{SUFFIX}"
        new = library.with_suffix(".new")  # a running process may have the old one mapped
        shutil.copy2(built / library.name, new)
        new.replace(library)
        build_data["artifacts"].append(f"{package.name}/{library.name}")
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
