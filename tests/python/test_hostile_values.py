"""Values that lie, change or never end are errors: nothing crashes, hangs, or is read after it is gone."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symphony import _host, register_types
from symphony.errors import ConversionError
from tests.fixtures.any_values import VALUES, Money, register

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.python, pytest.mark.property]

register()

# `make soak` sets more.
EXAMPLES = int(os.environ.get("SYMPHONY_VALUE_EXAMPLES", "150"))


class Trap:
    """Runs what it is told to while the bridge asks what stands for it."""

    def __init__(self, action: Callable[[], Any]) -> None:
        self.action = action


register_types(Trap, encode=lambda trap: trap.action(), decode=lambda plain: plain, name="test.Trap")


@pytest.fixture(params=["call", "blocking", "codec"])
def convert(request: pytest.FixtureRequest, mirror: Any) -> Callable[[Any], Any]:
    """The two ways over the bridge."""
    ways: dict[str, Callable[[Any], Any]] = {
        "call": mirror.echo,
        "blocking": mirror.echo_blocking,
        "codec": lambda value: _host.decode(_host.encode(value)),
    }
    return ways[request.param]


def test_cycles_and_endless_nesting(convert: Callable[[Any], Any]) -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    loop: dict[str, Any] = {}
    loop["again"] = {"deeper": loop}
    endless: Any = None
    for _ in range(200_000):
        endless = [endless]
    money = Money(1, None)
    money.currency = [money]
    for value in (cycle, loop, endless, money):
        with pytest.raises(ConversionError, match="nested deeper than 100, or a cycle"):
            convert(value)


def test_a_small_value_that_unfolds_without_end_is_refused_by_its_size(mirror: Any) -> None:
    value: Any = None
    for _ in range(30):
        value = [value] * 10
    for convert in (mirror.echo, _host.encode):
        with pytest.raises(ConversionError, match="more than 16777216 values"):
            convert(value)


def test_a_codec_that_gives_its_own_value_back_ends(convert: Callable[[Any], Any]) -> None:
    trap = Trap(lambda: trap)
    with pytest.raises(ConversionError, match="nested deeper than 100"):
        convert(trap)


def fresh(number: int) -> str:
    return f"a text of its own {number}" * 3


def emptied(container: Any) -> Callable[[], None]:
    """Empties it, and writes over what is freed, so that a stale reference would show."""

    def action() -> None:
        container.clear()
        gc.collect()
        KEPT.append([fresh(-number) for number in range(200)])

    return action


def replaced(container: dict[Any, Any]) -> Callable[[], None]:
    def action() -> None:
        container.clear()
        container["other"] = [1]

    return action


KEPT: list[Any] = []


def changing() -> list[Any]:
    items: list[Any] = [fresh(number) for number in range(50)]
    items.insert(25, Trap(emptied(items)))
    pairs: dict[Any, Any] = {fresh(number): [fresh(number)] for number in range(50)}
    pairs["trap"] = Trap(emptied(pairs))
    pairs |= {fresh(-number): [] for number in range(1, 50)}
    grown: dict[Any, Any] = {}
    grown["trap"] = Trap(lambda: grown.update((number, Trap(lambda: None)) for number in range(1_000)))
    members: set[Any] = {Trap(lambda: members.clear()), *(fresh(number) for number in range(50))}
    return [items, pairs, grown, members]


def test_a_container_that_changes_while_it_is_read_is_refused(mirror: Any) -> None:
    for convert in (mirror.echo, mirror.echo_blocking, _host.encode):
        *containers, members = changing()
        for value in containers:
            with pytest.raises(ConversionError, match="changed its size while it was read"):
                convert([value])
        if convert is _host.encode:  # a set is read as a whole, before its parts are
            assert len(_host.decode(convert(members))) == 51
        else:
            with pytest.raises(ConversionError, match="changed its size while it was read"):
                convert(members)
        # As many as before, but others.
        other: dict[Any, Any] = {}
        other["trap"] = Trap(replaced(other))
        assert convert(other)


def test_what_was_read_stays_when_its_container_lets_it_go(convert: Callable[[Any], Any]) -> None:
    inner = [fresh(1), fresh(2), b"bytes of its own" * 3, 2**90, bytearray(b"x" * 50)]
    before = [inner, {fresh(4): fresh(5)}, Trap(emptied(inner)), fresh(3)]
    back = convert(before)
    assert back[0][:4] == [fresh(1), fresh(2), b"bytes of its own" * 3, 2**90]
    assert bytes(back[0][4]) == b"x" * 50
    assert back[1:] == [{fresh(4): fresh(5)}, None, fresh(3)]


def test_a_dict_that_another_thread_changes(convert: Callable[[Any], Any]) -> None:
    shared: dict[Any, Any] = {number: [str(number)] for number in range(200)}
    stop = threading.Event()

    def churn() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            shared[f"k{number % 50}"] = ["x" * (number % 30)]
            shared.pop(f"k{(number + 25) % 50}", None)

    thread = threading.Thread(target=churn)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        for _ in range(200):
            try:
                back = convert(shared)
            except ConversionError as error:
                assert "changed" in str(error)  # noqa: PT017 (most rounds succeed)
            else:
                assert back[0] == ["0"]
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


class LyingIndex:
    def __index__(self) -> int:
        raise AssertionError("nobody may ask")


class LyingClass:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return dict

    def keys(self) -> Any:
        raise AssertionError("nobody may ask")


class RaisingClass:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("no class today")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name} today")


class LyingInt(int):
    def __index__(self) -> int:
        return 10**30

    __int__ = __index__


class LyingText(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "other"


class LyingTuple(tuple[int, ...]):
    __slots__ = ()
    _fields = ("a", "b", "c")


class LyingMeta(type):
    def __getattr__(cls, name: str) -> Any:
        raise RuntimeError(f"no {name} today")


class LyingKind(metaclass=LyingMeta):
    pass


def test_objects_that_lie_about_what_they_are(convert: Callable[[Any], Any]) -> None:
    for value in (
        LyingIndex(),
        LyingClass(),
        RaisingClass(),
        LyingInt(1),
        LyingText("x"),
        LyingTuple((1,)),
        LyingKind(),
    ):
        with pytest.raises(ConversionError, match=type(value).__name__):
            convert([value])


def test_text_that_is_none(convert: Callable[[Any], Any]) -> None:
    for value in ("\ud800", ["\udfff"], {"\ud800": 1}, {"a": "x\udc80"}, (1, {"\ud800"})):
        with pytest.raises(ConversionError, match="lone surrogate"):
            convert(value)


def test_what_an_authors_code_raises_is_the_cause_with_its_traceback(convert: Callable[[Any], Any]) -> None:
    problem = LookupError("no rate today")
    problem.add_note("ask tomorrow")

    def fail() -> None:
        raise problem

    with pytest.raises(
        ConversionError, match=r"\['a'\]\[1\]: a value of type Trap raised LookupError"
    ) as raised:
        convert({"a": [1, Trap(fail)]})
    assert raised.value.__cause__ is problem
    assert problem.__notes__ == ["ask tomorrow"]
    frames = []
    frame = problem.__traceback__
    while frame is not None:
        frames.append(frame.tb_frame.f_code.co_name)
        frame = frame.tb_next
    assert frames[-1] == "fail"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_error_passes_as_it_is(convert: Callable[[Any], Any], kind: type[BaseException]) -> None:
    problem = kind("now")

    def fail() -> None:
        raise problem

    with pytest.raises(kind) as raised:
        convert([Trap(fail)])
    assert raised.value is problem


def test_results_that_a_codec_refuses_are_its_own_error(mirror: Any) -> None:
    class Picky:
        pass

    problem = ArithmeticError("not this one")

    def refuse(_plain: Any) -> Picky:
        raise problem

    register_types(Picky, encode=lambda _value: 1, decode=refuse, name="test.Picky")
    with pytest.raises(ArithmeticError) as raised:
        mirror.echo([Picky()])
    assert raised.value is problem
    with pytest.raises(ValueError, match="cannot be read: ArithmeticError: not this one") as wrapped:
        _host.decode(_host.encode(Picky()))
    assert wrapped.value.__cause__ is problem


def test_a_released_view_is_an_error(convert: Callable[[Any], Any]) -> None:
    view = memoryview(b"x")
    view.release()
    with pytest.raises(ConversionError, match="memoryview raised ValueError"):
        convert([view])


def test_a_buffer_in_use_cannot_be_resized_and_is_free_afterwards(mirror: Any) -> None:
    mutable = bytearray(b"content")
    resized: list[Any] = []

    def resize() -> int:
        try:
            mutable.extend(b"x" * 10_000)
        except BufferError as error:
            resized.append(error)
        return 1

    assert mirror.echo([mutable, Trap(resize)]) == [b"content", 1]
    assert len(resized) == 1
    mutable.extend(b"x")


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=80))
def test_bytes_of_someone_else_are_an_error_and_never_a_crash(data: bytes) -> None:
    try:
        value = _host.decode(data)
    except ValueError:
        return
    assert _host.decode(_host.encode(value)) is not NotImplemented


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """The bytes after one to four edits."""
    edited = bytearray(whole)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(edited))
        match chance.choice(["flip", "tag", "drop", "repeat", "cut"]):
            case "flip":
                edited[at] ^= 1 << chance.randrange(8)
            case "tag":
                edited[at] = chance.choice(b"NTFiIfcsbBltSZdx")
            case "drop" if len(edited) > 1:
                del edited[at]
            case "repeat":
                edited[at:at] = edited[at : at + 9]
            case "cut":
                del edited[at + 1 :]
    return bytes(edited)


@settings(max_examples=max(EXAMPLES // 5, 1), deadline=None)
@given(VALUES, st.integers(0, 2**32))
def test_damaged_bytes_are_an_error_or_another_value(value: Any, seed: int) -> None:
    whole, chance = _host.encode(value), random.Random(seed)
    for _ in range(10):  # to make a value takes longer than to damage it
        with contextlib.suppress(ValueError):
            _host.decode(damaged(whole, chance))
