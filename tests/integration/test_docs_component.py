"""docs/write-a-component.md, done as it says: its files written, its commands run, their output compared."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.subprocess, pytest.mark.python]

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "write-a-component.md"
BUILT = ROOT / "target" / "component-page"
"""Always the same folder: cargo builds the SDK anew for a component at another path."""
BLOCK = re.compile(r"(?:^`(?P<path>[\w./-]+)`\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    path: str | None
    kind: str
    text: str


def commands(text: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output that is shown."""
    parts = re.split(r"^\$ (.*)$", text, flags=re.M)[1:]
    return list(zip(parts[::2], (output.strip("\n") for output in parts[1::2]), strict=True))


def write(path: Path, text: str) -> None:
    """What is there already keeps its time, by which cargo judges whether to build."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def lines(text: str) -> list[str]:
    """Without the blanks at their ends, which differ between Pythons."""
    return [line.rstrip() for line in text.strip("\n").splitlines()]


def test_the_page_can_be_followed_to_the_letter(tmp_path: Path) -> None:
    blocks = [Block(*found.group("path", "kind", "text")) for found in BLOCK.finditer(PAGE.read_text())]
    assert {block.path for block in blocks if block.path} >= {"acme-words/src/lib.rs", "sum.c"}
    BUILT.mkdir(parents=True, exist_ok=True)
    for left in BUILT.iterdir():
        if left.name not in ("target", "acme-words"):
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    (BUILT / "symphony").symlink_to(ROOT)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SYMPHONY_HOME": str(tmp_path / "home"),
        "CARGO_TARGET_DIR": str(BUILT / "target"),
    }
    place = BUILT
    ran = 0
    for block in blocks:
        if block.path is not None:
            write(BUILT / block.path, block.text)
        elif block.kind == "console":
            for command, shown in commands(block.text):
                if command.startswith("cd "):
                    place = BUILT / command.removeprefix("cd ")
                    continue
                done = subprocess.run(
                    command,
                    shell=True,
                    cwd=place,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=280,
                    check=False,
                )
                assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
                if shown:
                    assert lines(done.stdout) == lines(shown), command
                ran += 1
            place = BUILT
    assert ran == 11
