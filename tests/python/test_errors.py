"""Errors of components as Python sees them: their class, causes and notes; panics; the user's interrupt."""

from __future__ import annotations

import asyncio
import builtins
import inspect
import re
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from symphony import errors
from symphony.errors import (
    ConversionError,
    PitConflict,
    PitCorrupt,
    PitError,
    PitIO,
    PitPanic,
    PitTimeout,
    SymphonyError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.python

CLASSES: list[type[SymphonyError]] = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, SymphonyError) and found.__module__ == errors.__name__
]
PAGE = Path(__file__).parent.parent.parent / "docs" / "bridge.md"


def test_the_module_holds_one_tree_of_errors() -> None:
    public = [
        found
        for name, found in inspect.getmembers(errors, inspect.isclass)
        if found.__module__ == errors.__name__
    ]
    assert public == CLASSES
    assert all(kind.__doc__ for kind in CLASSES)


@pytest.mark.parametrize(
    ("number", "name", "builtin"),
    [
        (1, "PitInvalidArgument", ValueError),
        (2, "PitNotFound", LookupError),
        (3, "PitExhausted", RuntimeError),
        (4, "PitConflict", RuntimeError),
        (5, "PitWouldBlock", RuntimeError),
        (6, "PitCancelled", RuntimeError),
        (7, "PitTimeout", TimeoutError),
        (8, "PitIO", OSError),
        (9, "PitCorrupt", ValueError),
        (10, "PitError", Exception),
        (11, "PitPanic", RuntimeError),
        (12, "PitWrongType", TypeError),
    ],
)
def test_every_kind_of_error_has_its_class(mirror: Any, number: int, name: str, builtin: type) -> None:
    with pytest.raises(PitError) as raised:
        mirror.fail(number)
    assert type(raised.value) is getattr(errors, name)
    assert isinstance(raised.value, builtin)
    assert str(raised.value) == f"failed with {number}"


def test_the_page_has_every_class_with_its_bases_and_exit_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| (\d+) \|", PAGE.read_text(), re.MULTILINE)
    shown = {name: (bases, int(code)) for name, bases, code in rows}
    for kind in CLASSES:
        bases, code = shown.pop(kind.__name__)
        expected = [base.__name__ for base in kind.__bases__]
        assert re.findall(r"`(\w+)`", bases) == expected, kind
        assert code == kind.exit_code, kind
    assert shown == {}


def chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def test_causes_are_a_chain_and_context_is_notes(mirror: Any) -> None:
    with pytest.raises(PitConflict) as raised:
        mirror.fail_with_causes()
    links = list(chain(raised.value))
    assert [(type(link), str(link)) for link in links] == [
        (PitConflict, "the index cannot be opened"),
        (PitCorrupt, "the header is bad"),
        (PitError, "the index is gone"),
        (PitIO, "No such file or directory (os error 2)"),
    ]
    assert links[0].__notes__ == ["index: a", "try: 3"]
    assert links[1].__notes__ == ["file: a.idx"]
    assert isinstance(links[3], OSError)
    assert links[3].errno == 2
    shown = "".join(traceback.format_exception(raised.value))
    places = [shown.index(str(link)) for link in links]
    assert places == sorted(places, reverse=True)
    assert "mirror.fail_with_causes()" in shown


def test_a_panic_names_its_place_and_component_and_the_process_lives(mirror: Any) -> None:
    async def later() -> None:
        await mirror.panic_later("fell")

    for call in (lambda: mirror.panic("fell"), lambda: asyncio.run(later())):
        with pytest.raises(PitPanic, match="fell") as raised:
            call()
        place, component = raised.value.__notes__
        assert re.fullmatch(r"location: .*mirror/src/lib\.rs:\d+:\d+", place)
        assert component == "component: test.mirror"
    assert mirror.echo(1) == 1


def test_an_error_keeps_what_python_adds_on_its_way(mirror: Any) -> None:
    def inner() -> None:
        mirror.fail(9)

    def outer() -> None:
        try:
            inner()
        except PitCorrupt as error:
            error.add_note("while indexing")
            raise RuntimeError("the index is unusable") from error

    with pytest.raises(RuntimeError) as raised:
        outer()
    cause = raised.value.__cause__
    assert isinstance(cause, PitCorrupt)
    assert cause.__notes__ == ["while indexing"]
    assert [frame.name for frame in traceback.extract_tb(cause.__traceback__)][-2:] == ["outer", "inner"]


def test_a_twin_gives_what_its_method_gives(mirror: Any) -> None:
    before = mirror.stats()["dropped"]
    with pytest.raises(PitTimeout, match="nothing came"):
        mirror.wait(0.01)
    assert mirror.stats() == {"waiting": 0, "dropped": before + 1}
    failed: list[BaseException] = []

    def elsewhere() -> None:
        try:
            mirror.wait(0.01)
        except PitTimeout as error:
            failed.append(error)

    # On another thread there are no signals to look for, and the method itself is called.
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(failed) == 1
    assert mirror.stats() == {"waiting": 0, "dropped": before + 1}
    with pytest.raises(ConversionError, match="seconds: expected float, got str"):
        mirror.wait("long")


WAIT = """
import sys
from symphony import _host
pit = _host.open_pit(sys.argv[1], sys.argv[2:])
pit.pool_manager.register("m")
pit.pool_manager.warm("m")
print("waiting", flush=True)
try:
    pit.pool_manager.acquire("m", timeout=60)
except KeyboardInterrupt:
    print("interrupted", int(pit.pool_manager.stats()["waiting"]), flush=True)
    raise
"""


@pytest.mark.subprocess
def test_an_interrupt_ends_a_wait_and_leaves_the_queue(tmp_path: Path, libraries: dict[str, Path]) -> None:
    command = [sys.executable, "-c", WAIT, str(tmp_path), *map(str, libraries.values())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "waiting\n"
        asleep(child.pid)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    assert out == "interrupted 0\n"
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert child.returncode == -signal.SIGINT


HANDLED = WAIT.replace(
    "import sys\n",
    "import signal, sys\nsignal.signal(signal.SIGUSR1, lambda *_: print('handled', flush=True))\n",
)


@pytest.mark.subprocess
def test_a_handler_that_does_not_raise_lets_it_wait_on(tmp_path: Path, libraries: dict[str, Path]) -> None:
    command = [sys.executable, "-c", HANDLED, str(tmp_path), *map(str, libraries.values())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "waiting\n"
        asleep(child.pid)
        child.send_signal(signal.SIGUSR1)
        assert child.stdout.readline() == "handled\n"
        child.send_signal(signal.SIGINT)
        assert child.communicate(timeout=30)[0] == "interrupted 0\n"


def asleep(pid: int) -> None:
    """Until the main thread sleeps in the kernel."""
    while Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "S":
        pass


def test_builtin_names_are_not_shadowed() -> None:
    assert not {kind.__name__ for kind in CLASSES} & set(dir(builtins))
