"""Calls on threads that Python does not wait for end without a word when it exits; so does the process."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.python, pytest.mark.subprocess]

CALLS = """
import sys, threading, time
from symphony import _host, register_types

class Slow:
    pass

def encode(value):
    end = time.monotonic() + 0.3
    while time.monotonic() < end:  # gives up Python's lock again and again
        sum(range(1000))
    return 1

register_types(Slow, encode=encode, decode=lambda plain: Slow(), name="test.Slow")
home, library = sys.argv[1:]
pit = _host.open_pit(home, [library])
shapes = pit.shapes
encoded = _host.encode(Slow())
calls = [
    shapes.ping,
    lambda: shapes.block(0.2),
    lambda: shapes.block(3600.0),
    lambda: shapes.echo([1, {"a": None}]),
    lambda: shapes.echo(Slow()),
    lambda: shapes.fail("on purpose"),
    lambda: shapes.add(nothing=1),
    lambda: _host.encode([Slow()]),
    lambda: _host.decode(encoded),
    lambda: _host.open_pit(home, [library]),
]
started = threading.Barrier(len(calls) + 1)

def serve(call):
    started.wait()
    while True:
        try:
            call()
        except Exception:
            pass

for call in calls:
    threading.Thread(target=serve, args=(call,), daemon=True).start()

started.wait()
time.sleep(0.05)
sys.exit(7)
"""


def ended(program: str, home: Path, library: Path) -> tuple[int, str, str]:
    command = [sys.executable, "-c", program, str(home), str(library)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr, done.stdout


def test_calls_on_daemon_threads_end_with_the_interpreter(tmp_path: Path, shapes_library: Path) -> None:
    for number in range(3):
        assert ended(CALLS, tmp_path / str(number), shapes_library) == (7, "", "")


JOINED = """
import atexit, sys, threading

calls = []
stop = threading.Event()

def serve():
    while not stop.is_set():
        calls.append(shapes.block(0.001))

thread = threading.Thread(target=serve, daemon=True)

def join():
    stop.set()
    thread.join()
    print("joined", flush=True)

atexit.register(join)  # runs after what the bridge does at the end
from symphony import _host
shapes = _host.open_pit(*sys.argv[1:2], sys.argv[2:]).shapes
thread.start()
while not calls:
    pass
sys.exit(7)
"""


def test_a_thread_that_is_joined_at_the_end_does_end(tmp_path: Path, shapes_library: Path) -> None:
    assert ended(JOINED, tmp_path, shapes_library) == (7, "", "joined\n")


LATE = """
import os, sys
from symphony import _host

shapes = _host.open_pit(*sys.argv[1:2], sys.argv[2:]).shapes

class Late:
    def __del__(self, shapes=shapes, errors=Exception, write=os.write):
        assert shapes.echo([1, 2**80, {"a"}]) == [1, 2**80, {"a"}]
        for call in (lambda: shapes.fail("late"), lambda: shapes.add(nothing=1), lambda: shapes.echo(write)):
            try:
                call()
            except errors:
                write(1, b"an error ")

late = Late()  # goes with its module
sys.exit(7)
"""


def test_calls_while_the_modules_go_are_calls_like_others(tmp_path: Path, shapes_library: Path) -> None:
    assert ended(LATE, tmp_path, shapes_library) == (7, "", "an error " * 3)
