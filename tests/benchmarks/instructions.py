"""Instructions that a Pit call takes, counted by callgrind: the same in every run, where a clock shows noise.

.venv/bin/python tests/benchmarks/instructions.py [--write | --legs | --functions]

Compares with ``instructions.json``, if that was counted with the same compiler, CPython and valgrind, and
fails where a call has grown by 5 % or more. ``--write`` counts anew into the file; ``--legs`` shows where
the instructions of one call are spent.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.benchmarks.native_build import native_libraries  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT = Path(__file__).with_name("instructions.json")
CALLS = 10_000
ALLOWED = 1.05

STATEMENTS = {
    "an empty turn of the loop": "pass",
    "gc.isenabled()": "enabled()",
    "math.gcd(12, 18)": "gcd(12, 18)",
    "direct #[pyfunction] (str, int)": 'direct("abc", 4)',
    "Pit call ()": "ping()",
    "Pit call (str, int)": 'add("abc", 4)',
    "Pit call (str, int), by keyword": 'add(text="abc", number=4)',
    "Pit call (str), defaults": 'padded("abcd")',
    "Pit call (int, float, bool, str)": 'four(1, 2.5, True, "abc")',
    "Pit call (list)": "echo(items)",
}

# Each statement has a phase of its own; at the marker between them callgrind writes what was counted so far.
PROGRAM = """
import gc, math, os, sys
sys.path.insert(0, sys.argv[1])
from symphony import _host
from tests.benchmarks.native_build import imported
from pathlib import Path
home, library, direct, calls, *statements = sys.argv[2:]
pit = _host.open_pit(home, [library])
names = {name: getattr(pit.shapes, name) for name in ("ping", "add", "padded", "four", "echo")}
names |= {"enabled": gc.isenabled, "gcd": math.gcd, "direct": imported(Path(direct)).add}
names |= {"items": [1, "two", 3.0]}
gc.disable()
for statement in statements:
    exec(f"def loop(calls):\\n for _ in range(calls):\\n  {statement}", names)
    names["loop"](200)
    os.getppid()
    names["loop"](int(calls))
    os.getppid()
pit.close()
"""
MARKER = "getppid"


LEGS = {
    "CPython calls the method": (
        "_PyEval_",
        "PyObject_Vectorcall",
        "cfunction_vectorcall",
        "_Py_CheckFunctionResult",
    ),
    "the bridge's entry": ("symphony_host::bindings",),
    "arguments to values": (
        "PyUnicode_AsUTF8AndSize",
        "PyLong_AsLong",
        "PyFloat_AsDouble",
        "PyTuple_",
        "PyList_Get",
        "PyList_Size",
        "PyDict_Size",
        "_PyDict_Next",
        "symphony_host::types::to_pit",
        "symphony_host::types::arena",
        "core::ptr::drop_in_place<symphony_host::types::arena",
    ),
    "the component": (
        "symphony_shapes",
        "symphony_pit",
        "alloc::",
        "core::",
        "<alloc",
        "<i64",
        "<usize",
        "<core",
    ),
    "the result to an object": (
        "PyLong_From",
        "PyFloat_From",
        "PyBool_From",
        "PyUnicode_",
        "PyList_",
        "unicode_decode",
        "ascii_decode",
        "symphony_host::types::",
    ),
    "allocating and freeing": ("",),
}
"""What the functions of a call belong to, by how their names begin; the first that fits counts."""


def versions() -> dict[str, str]:
    """What the counts depend on."""
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    valgrind = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)
    return {
        "rustc": rustc,
        "python": f"{platform.python_version()}, {platform.python_compiler()}",
        "valgrind": valgrind.stdout.strip(),
        "machine": platform.machine(),
    }


def self_costs(part: Path) -> Counter[str]:
    """Instructions of each function by itself, in one file of callgrind's."""
    costs: Counter[str] = Counter()
    function, called = "", False
    for line in part.read_text().splitlines():
        if line.startswith("fn="):
            function = line[3:]
        elif line.startswith("calls="):
            called = True  # the next line tells what the callee cost
        elif line[:1].isdigit() or line[:1] in "+-*":
            if not called:
                costs[function] += sum(map(int, line.split()[1:]))  # a cost of nothing is left out
            called = False
    return costs


def counted() -> Iterator[tuple[str, Counter[str]]]:
    """Of each statement, what each function costs in one turn of the loop."""
    library, shapes = native_libraries()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        command = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}"]
        command += [f"--dump-before={MARKER}", "--compress-strings=no", "--compress-pos=no", sys.executable]
        program = ["-c", PROGRAM, str(ROOT), f"{folder}/home", str(shapes), str(library), str(CALLS)]
        environment = {"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin"}
        subprocess.run([*command, *program, *STATEMENTS.values()], check=True, env=environment, cwd=folder)
        for number, name in enumerate(STATEMENTS):
            costs = self_costs(out.with_suffix(f".out.{2 * number + 2}"))
            yield name, Counter({function: cost for function, cost in costs.items() if cost >= CALLS // 2})


def totals(costs: dict[str, Counter[str]]) -> dict[str, int]:
    """Instructions of each statement, the loop's own not counted."""
    turns = {name: round(cost.total() / CALLS) for name, cost in costs.items()}
    empty = turns.pop("an empty turn of the loop")
    return {name: turn - empty for name, turn in turns.items()}


def legs(costs: dict[str, Counter[str]]) -> str:
    """A table of what each leg of a call takes, the loop around it not counted."""
    empty = costs["an empty turn of the loop"]
    calls = {name: cost - empty for name, cost in costs.items() if name.startswith("Pit call")}
    rows = [["leg", *calls], ["---", *["---:"] * len(calls)]]
    shares: dict[str, Counter[str]] = {name: Counter() for name in calls}
    for name, cost in calls.items():
        for function, count in cost.items():
            leg = next(leg for leg, starts in LEGS.items() if function.startswith(starts))
            shares[name][leg] += count
    rows += [[leg, *[f"{shares[name][leg] / CALLS:,.0f}" for name in calls]] for leg in LEGS]
    rows.append(["together", *[f"{shares[name].total() / CALLS:,.0f}" for name in calls]])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def compare(now: dict[str, int]) -> bool:
    """Print both counts side by side; whether nothing has grown too much."""
    kept = json.loads(KEPT.read_text())
    comparable = kept["versions"] == versions()
    if not comparable:
        print(f"counted with other versions, so not judged: {kept['versions']}; here {versions()}")
    grown = False
    for name, count in now.items():
        before = kept["instructions"].get(name)
        change = f"{count / before - 1:+.1%}" if before else "new"
        print(f"{name:36} {count:7,} {f'{before:,}' if before else '-':>8} {change:>8}")
        grown |= bool(comparable and before and count >= before * ALLOWED)
    if grown:
        print("a call has grown by 5 % or more: make it cheaper, or count anew with --write and say why")
    return not grown


def main() -> None:
    parser = argparse.ArgumentParser(description="Count the instructions of Pit calls.")
    parser.add_argument("--write", action="store_true", help=f"keep the counts in {KEPT.name}")
    parser.add_argument("--legs", action="store_true", help="show what each leg of a call takes, as a table")
    parser.add_argument("--functions", action="store_true", help="show what each function takes in one call")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is missing: install it (Debian: apt-get install valgrind)")
    costs = dict(counted())
    if options.legs:
        print(legs(costs))
        return
    if options.functions:
        for name, cost in costs.items():
            print(f"{name}: {cost.total() / CALLS:,.0f}")
            for function, count in cost.most_common():
                print(f"{count / CALLS:9.1f}  {function[:140]}")
        return
    now = totals(costs)
    if options.write:
        KEPT.write_text(json.dumps({"versions": versions(), "instructions": now}, indent=2) + "\n")
    sys.exit(not (options.write or compare(now)))


if __name__ == "__main__":
    main()
