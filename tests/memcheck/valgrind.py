"""Run the tests of the ABI, the loader, the log and the bridge under valgrind.

.venv/bin/python tests/memcheck/valgrind.py [abi|log|loader|bridge ...]

CPython and its extension modules are not judged, so no suppression file is needed: an error counts if a
library of ours, or a Rust test, is on its stack. Counted are invalid reads and writes, uses of undefined
values, bad frees, and blocks that nothing points to any more.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
VALGRIND = (
    "valgrind",
    "--quiet",
    "--leak-check=full",
    "--show-leak-kinds=definite",
    "--num-callers=40",
    "--xml=yes",
)

RUST = {
    "abi": ("--package=symphony-pit-abi", "--package=symphony-pit", "--features=symphony-pit/testing"),
    "log": ("--package=symphony-pit-journal", "--lib", "--test=log_test", "--test=backend_test"),
    "loader": ("--package=symphony-host", "--lib"),
}
"""What is tested in Rust. The log's damage and soak tests take hours under valgrind, for the same code."""

MEANT = (
    "symphony_pit::testing::TestHost::new",  # a handle to copy, which stays until the test's process ends
    "_dl_open",  # what the dynamic loader keeps for a library; libraries are never closed
)

BRIDGE = (
    "tests/python/test_bridge.py",
    "tests/python/test_memory.py",
    # It looks into the allocators that valgrind replaces.
    "--deselect=tests/python/test_memory.py::test_the_check_finds_leaks_of_both_allocators",
)


@dataclass(frozen=True)
class Fault:
    """One error that valgrind reports: what it is, and its stack, innermost first."""

    what: str
    frames: tuple[tuple[str, str], ...]

    def ours(self) -> bool:
        """Whether a library of this project, or a Rust test, is on the stack, and it is no fault meant."""
        if any(function in MEANT for _, function in self.frames):
            return False
        return any(is_ours(library) for library, _ in self.frames)

    def __str__(self) -> str:
        stack = "\n".join(f"    {function}  ({Path(library).name})" for library, function in self.frames)
        return f"{self.what}\n{stack}"


def is_ours(library: str) -> bool:
    """Whether a file was built here."""
    path = Path(library)
    return path.is_relative_to(ROOT) and not path.is_relative_to(ROOT / ".venv")


def faults(report: Path) -> Iterator[Fault]:
    """The errors in an XML report."""
    for error in ElementTree.parse(report).getroot().iter("error"):
        what = error.findtext("what") or error.findtext("xwhat/text") or str(error.findtext("kind"))
        frames = error.find("stack")
        yield Fault(
            what,
            tuple((frame.findtext("obj", "?"), frame.findtext("fn", "?")) for frame in frames or ()),
        )


def checked(name: str, command: Sequence[str], environment: dict[str, str]) -> list[Fault]:
    """Run a command under valgrind; its faults of ours."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        done = subprocess.run(
            [*VALGRIND, f"--xml-file={report}", *command], cwd=ROOT, env=os.environ | environment, check=False
        )
        if done.returncode != 0:
            sys.exit(f"{name}: the tests themselves fail under valgrind (exit code {done.returncode})")
        found = list(faults(report))
    ours = [fault for fault in found if fault.ours()]
    print(f"{name}: {len(ours)} errors of ours, {len(found) - len(ours)} of others", flush=True)
    return ours


def rust_tests(chosen: Sequence[str]) -> Iterator[Path]:
    """The test programs of packages, built."""
    command = ["cargo", "test", "--no-run", "--quiet", "--message-format=json", *chosen]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["profile"]["test"]:
            yield Path(message["executable"])


def check(part: str) -> list[Fault]:
    if part == "bridge":
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=0", *BRIDGE]
        return checked(part, command, {"PYTHONMALLOC": "malloc", "SYMPHONY_MEMORY_ROUNDS": "20"})
    found = []
    for program in rust_tests(RUST[part]):
        name = program.name.rpartition("-")[0]
        found += checked(f"{part}: {name}", [str(program), "--test-threads=1"], {})
    return found


def main() -> None:
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is missing: install it (Debian: apt-get install valgrind)")
    found = [fault for part in sys.argv[1:] or [*RUST, "bridge"] for fault in check(part)]
    for fault in found:
        print(fault, file=sys.stderr)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
