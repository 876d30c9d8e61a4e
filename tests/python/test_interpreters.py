"""Where the Pit cannot work, it says so: forked children, sub-interpreters, builds without the lock."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = [pytest.mark.python, pytest.mark.subprocess]

ROOT = Path(__file__).parent.parent.parent

FORKED = """
import asyncio, os, sys
sys.path.insert(0, sys.argv[1])
from symphony import _host, errors
from tests.python.operations import Proactor

home, other, *libraries = sys.argv[2:]
pit = _host.open_pit(home, libraries)
pool = pit.pool_manager
pool.register("m"); pool.warm("m"); pool.warmed("m", 0.0)
kept = pit.artifact_store.get(pit.artifact_store.put(b"x" * 100_000))

async def result(operation):
    return await operation

lease = pool.try_acquire("m")
loop = Proactor()  # with a thread that the child does not have
task = loop.create_task(result(pool.acquire_async("m")))
loop.call_soon(loop.stop)
loop.run_forever()
operation = pool.acquire_async("m")

def tried(call):
    try:
        return call()
    except errors.PitUnavailable as error:
        return str(error)

child = os.fork()
if child == 0:
    for call in (
        pool.ping,
        lambda: pool.try_acquire("m"),
        lambda: pool.try_acquire(model="m"),
        lambda: pool.acquire("m"),
        lambda: pool.acquire_async("m"),
        pit.flush,
        pit.uncovered,
        lambda: _host.open_pit(other, libraries),
        lambda: asyncio.run(result(operation)),
        lambda: asyncio.run(result(operation)),
    ):
        print(tried(call))
    pit.close()
    task.cancel()
    task._log_destroy_pending = False
    # An end like any other: nothing of the parent's is stopped, waited for or given back.
    del task, operation, kept, pool, pit
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
pool.release(lease)
lease = loop.run_until_complete(task)
pool.release(lease)
assert loop.run_until_complete(operation) > lease
loop.close()
assert bytes(kept[:3]) == b"xxx"
print("parent goes on as process", _host.lease_holder(home) == os.getpid())
pit.close()
"""


def test_a_forked_child_is_refused_and_the_parent_goes_on(tmp_path: Path, libraries: dict[str, Path]) -> None:
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        FORKED,
        str(ROOT),
        str(tmp_path / "home"),
        str(tmp_path / "other"),
    ]
    paths = [str(path) for path in libraries.values()]
    done = subprocess.run([*command, *paths], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    *refused, last = done.stdout.splitlines()
    assert len(refused) == 10
    for line in refused:
        assert line.startswith("the Pit cannot be used in a forked child: it belongs to the parent process.")
        assert '"spawn"' in line
    assert last == "parent goes on as process True"
    assert done.returncode == 0


SUBINTERPRETER = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

program = '''
try:
    from symphony import _host
except ImportError as error:
    print(error)
else:
    print("it was imported")
'''
interpreters.run_string(interpreters.create(), program)
from symphony import _host
print(_host.__version__)
"""


def test_a_sub_interpreter_is_refused_and_the_main_one_works() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SUBINTERPRETER], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    refused, version = done.stdout.splitlines()
    # Where sub-interpreters have locks of their own, CPython refuses before the module is asked.
    assert re.search(
        "does not support (sub-interpreters: .* in the main interpreter|loading in subinterpreters)", refused
    )
    assert version


def test_a_free_threaded_build_is_refused_before_anything_is_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = importlib.util.spec_from_file_location("build_backend", ROOT / "host" / "build_backend.py")
    assert spec is not None
    assert spec.loader is not None
    backend = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(backend)
    backend.check_interpreter()
    monkeypatch.setattr(sysconfig, "get_config_var", {"Py_GIL_DISABLED": 1}.get)
    with pytest.raises(SystemExit, match="free-threaded"):
        backend.build_wheel("unused")
    with pytest.raises(SystemExit, match="free-threaded"):
        backend.build_editable("unused")
