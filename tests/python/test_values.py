"""Every row of the table comes back from a call as it went in; what has none is refused with its path."""

from __future__ import annotations

import array
import asyncio
import dataclasses
import mmap
from collections import Counter, OrderedDict, defaultdict
from typing import TYPE_CHECKING, Any, TypedDict

import numpy
import pytest
from hypothesis import given, settings

from symphony import _host, register_types
from symphony.errors import Conflict, ConversionError, InvalidInput, PitInvalidArgument, PitWrongType
from symphony.values import Record, coerce, json_value
from symphony.values.coercion import Mode
from tests.fixtures.any_values import (
    VALUES,
    Crate,
    Form,
    Level,
    Money,
    Packet,
    Page,
    Point,
    Word,
    register,
    same,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.python, pytest.mark.property]

register()


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_every_value_comes_back_with_its_type(mirror: Any, value: Any) -> None:
    assert same(mirror.echo(value), value)


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_also_by_way_of_a_copy_in_one_piece(mirror: Any, value: Any) -> None:
    assert same(mirror.copied(value), value)


@settings(max_examples=30, deadline=None)
@given(VALUES)
def test_also_from_a_call_that_gives_up_the_lock_and_from_one_that_is_awaited(
    mirror: Any, value: Any
) -> None:
    assert same(mirror.echo_blocking(value), value)

    async def main() -> Any:
        return await mirror.echo_later(value)

    assert same(asyncio.run(main()), value)


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_the_durable_form_is_lossless_too_and_the_same_for_equal_values(value: Any) -> None:
    encoded = _host.encode(value)
    assert same(_host.decode(encoded), value)
    assert _host.encode(_host.decode(encoded)) == encoded


def test_a_key_that_comes_again_is_one_object_and_no_other_is_taken_for_it(mirror: Any) -> None:
    odd = {"": 1, "ключ": 2, "a" * 40: 3, "a\0b": 4, 5: 6, None: 7}
    rows = [{f"key {number % 70}": number, **odd} for number in range(200)]
    back = mirror.echo(rows)
    assert back == rows
    assert [list(row) for row in back] == [list(row) for row in rows]
    assert len({id(key) for row in mirror.echo([{"name": 1}] * 3) for key in row}) == 1


def test_a_key_outlives_the_dict_that_a_codec_lets_go_of(mirror: Any) -> None:
    class Gone:
        pass

    register_types(Gone, encode=lambda _: {"gone": 1}, decode=lambda _: Gone(), name="test.Gone")
    *lost, last = mirror.echo([*(Gone() for _ in range(50)), {"gone": "kept"}])
    assert [type(value) for value in lost] == [Gone] * 50
    assert last == {"gone": "kept"}


def nested(depth: int, wrap: Callable[[Any], Any], inner: Any = None) -> Any:
    for _ in range(depth):
        inner = wrap(inner)
    return inner


@pytest.mark.parametrize(
    "wrap", [lambda x: [x], lambda x: (x,), lambda x: {"a": x}, lambda x: frozenset([x])]
)
def test_nesting_goes_to_the_limit_and_no_further(mirror: Any, wrap: Callable[[Any], Any]) -> None:
    for value in (nested(100, wrap), nested(100, wrap, 2**80)):
        assert same(mirror.echo(value), value)
        assert same(_host.decode(_host.encode(value)), value)
    for inner in (None, 1):
        with pytest.raises(ConversionError, match="nested deeper than 100, or a cycle"):
            mirror.echo(nested(101, wrap, inner))
        with pytest.raises(ConversionError, match="nested deeper than 100, or a cycle"):
            _host.encode(nested(101, wrap, inner))


@dataclasses.dataclass
class Unknown:
    """Registered nowhere."""

    name: str
    page: Page | None = None
    points: list[Point] = dataclasses.field(default_factory=list)


class Options(TypedDict):
    depth: int


def test_a_class_that_nobody_registered_is_a_record_until_a_hint_names_it(mirror: Any) -> None:
    value = Unknown("a", Page("u", 1), [Point(1, 2)])
    for back in (mirror.echo(value), _host.decode(_host.encode(value))):
        assert back == Record("Unknown", {"name": "a", "page": Page("u", 1), "points": [Point(1, 2)]})
        assert coerce(back, Unknown) == value
    assert mirror.echo(Options(depth=1)) == {"depth": 1}
    with pytest.raises(ConversionError, match="name: expected str, got int"):
        coerce(mirror.echo(Unknown(3)), Unknown)  # type: ignore[arg-type]


def test_classes_of_other_libraries_are_made_from_json_by_their_own_rules() -> None:
    json = Mode(json=True)
    assert coerce({"content": 1, "_label": "x"}, Crate, mode=json) == Crate(1, "x")
    assert coerce({"body": [1]}, Packet, mode=json) == Packet([1])
    assert coerce({"answer": 1}, Form, mode=json) == Form(answer=1)
    assert json_value([Crate(1, "x"), Packet(2), Form(answer=3)]) == [
        {"content": 1, "_label": "x"},
        {"body": 2, "size": 0},
        {"answer": 3, "pages": 1},
    ]
    for hint in (Crate, Packet, Form):
        with pytest.raises(ConversionError, match="missing field"):
            coerce({}, hint, mode=json)
        with pytest.raises(ConversionError, match="expected"):
            coerce(3, hint, mode=json)


class TestRegister:
    """Codecs of classes."""

    def test_a_codec_serves_calls_records_hints_and_json(self, mirror: Any) -> None:
        money = Money(5, "EUR")
        assert mirror.echo([money]) == [money]
        assert json_value(money) == {"cents": 5, "currency": "EUR"}
        assert coerce({"cents": 5, "currency": "EUR"}, Money, mode=Mode(json=True)) == money
        with pytest.raises(ConversionError, match="expected Money, got int"):
            coerce(5, Money)

    def test_a_record_of_a_class_that_is_registered_later_is_read_then(self) -> None:
        class Late:
            def __init__(self, x: int) -> None:
                self.x = x

        foreign = _host.encode(Record("test.Late", {"value": 7}))
        assert _host.decode(foreign) == Record("test.Late", {"value": 7})
        register_types(Late, encode=lambda late: late.x, decode=Late, name="test.Late")
        assert _host.decode(foreign).x == 7
        assert coerce(Record("test.Late", {"value": 8}), Late).x == 8

    def test_what_makes_no_sense_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match="belong together"):
            register_types(object, encode=str)
        with pytest.raises(InvalidInput, match="no fields"):
            register_types(object)
        with pytest.raises(InvalidInput, match="for one class"):
            register_types(Page, Point, name="x")
        with pytest.raises(Conflict, match=r"'shop\.Money' already stands for"):
            register_types(Page, name="shop.Money")

    def test_a_field_that_is_not_what_its_hint_says_comes_back_as_it_was(self, mirror: Any) -> None:
        page = Page(3, "x")  # type: ignore[arg-type]
        assert same(mirror.echo(page), page)


class TestBuffers:
    """Bytes go in where they lie."""

    def test_what_has_bytes_is_read_where_it_lies(self, mirror: Any) -> None:
        content = b"content" * 3
        numbers = numpy.arange(7.0)
        mutable, items = bytearray(content), array.array("d", range(5))
        for value, address, size in [
            (content, numpy.frombuffer(content, numpy.uint8).ctypes.data, 21),
            (mutable, numpy.frombuffer(mutable, numpy.uint8).ctypes.data, 21),
            (memoryview(content)[3:], numpy.frombuffer(content, numpy.uint8).ctypes.data + 3, 18),
            (items, items.buffer_info()[0], 40),
            (numbers, numbers.ctypes.data, 56),
            (numpy.asfortranarray(numbers.reshape(1, 7)), numbers.ctypes.data, 56),
        ]:
            assert mirror.seen(value)[:2] == [address, size]
        assert mirror.seen_blocking(content) == numpy.frombuffer(content, numpy.uint8).ctypes.data

    def test_what_others_may_write_to_meanwhile_is_copied(self, mirror: Any) -> None:
        mutable = bytearray(b"content")
        assert mirror.seen_blocking(mutable) != numpy.frombuffer(mutable, numpy.uint8).ctypes.data
        assert mirror.seen(memoryview(b"content")[::2])[1] == 4

    def test_buffers_come_back_as_bytes_or_as_a_view_where_the_method_says_so(self, mirror: Any) -> None:
        for value in (b"abc", bytearray(b"abc"), memoryview(b"abc"), array.array("b", b"abc")):
            assert same(mirror.echo([value]), [b"abc"])
        with mmap.mmap(-1, 4) as mapped:
            assert mirror.echo(mapped) == bytes(4)
        view = mirror.view(b"content")
        assert isinstance(view, memoryview)
        assert (bytes(view), view.readonly) == (b"content", True)

    def test_arrays_keep_dtype_and_shape(self, mirror: Any) -> None:
        for value in (
            numpy.arange(6, dtype="<f4").reshape(2, 3),
            numpy.asfortranarray(numpy.arange(6, dtype=">i2").reshape(2, 3)),
            numpy.arange(12)[::3],
            numpy.zeros((0, 4)),
            numpy.array(5),
            numpy.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
            numpy.array(["2026-01-02"], dtype="datetime64[D]"),
            numpy.array(["a", "bc"]),
            numpy.array([b"", b""]),
            numpy.zeros(3, dtype="V0"),
        ):
            for back in (mirror.echo(value), _host.decode(_host.encode(value))):
                assert type(back) is numpy.ndarray
                assert (back.dtype, back.shape) == (value.dtype, value.shape)
                assert back.tobytes() == value.tobytes()
        for scalar in (numpy.float32(1.5), numpy.int64(3), numpy.bool_(True), numpy.str_("a")):
            back = mirror.echo(scalar)
            assert (type(back), back) == (type(scalar), scalar)
        for objects in (numpy.array([object()]), numpy.zeros(1, dtype=[("O", "O")])):
            with pytest.raises(ConversionError, match="ndarray cannot cross"):
                mirror.echo(objects)
        named = numpy.zeros(1, dtype=[("O", "i4")])
        assert mirror.echo(named).dtype == named.dtype


def test_a_component_that_knows_only_plain_types_reads_those(mirror: Any) -> None:
    for value, plain in [
        ((1, 2), [1, 2]),
        ({1}, [1]),
        (Level.HIGH, 10),
        (Word.YES, "yes"),
        (Page("u", 1), {"url": "u", "parts": 1}),
        (Point(1, 2), [1, 2]),
        (numpy.float32(0.5), 0.5),
        (numpy.int8(3), 3),
        (numpy.array([1, 2], dtype="u1"), b"\1\2"),
    ]:
        assert same(mirror.plain(value), plain)
    assert mirror.number(Level.HIGH) == 10
    step = {"name": "a", "timeout": 0.5, "after": ["b"], "limits": {"x": 1}, "tags": {"t"}, "next": None}
    assert mirror.plan([step]) == [step]


def test_an_error_names_the_path_and_both_types(mirror: Any) -> None:
    plan = [{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d", "timeout": "soon"}]
    with pytest.raises(PitWrongType) as raised:
        mirror.plan(plan)
    assert str(raised.value) == "steps[3].timeout: expected float, got str ('soon')"
    assert isinstance(raised.value, (ConversionError, TypeError))
    assert isinstance(raised.value, (PitInvalidArgument, ValueError))
    for steps, message in [
        ([{"name": "a", "next": {"name": 1}}], "steps[0].next.name: expected str, got int"),
        ([{"name": "a", "limits": {"it's": "x"}}], "steps[0].limits[\"it's\"]: expected int, got str ('x')"),
        ([{"name": "a", "after": ("b", 2**70)}], "steps[0].after[1]: expected str, got int beyond 64 bits"),
        ([Page("u")], "steps[0]: unknown key 'url'"),
        ([Money(1, 2)], "steps[0]: expected dict, got shop.Money"),
    ]:
        with pytest.raises(PitInvalidArgument) as found:
            mirror.plan(steps)
        assert str(found.value) == message


class Text(str):
    __slots__ = ()


class Number(int):
    pass


def test_what_would_come_back_as_another_type_is_refused(mirror: Any) -> None:
    for value, base in [
        (Text("a"), "str"),
        (Number(1), "int"),
        (OrderedDict(), "dict"),
        (defaultdict(list), "dict"),
        (Counter("a"), "dict"),
        (type("Items", (list,), {})(), "list"),
    ]:
        name = type(value).__name__
        for convert in (mirror.echo, _host.encode):
            with pytest.raises(ConversionError, match=rf"\['a'\]\[0\]: {name} is a subclass of {base}"):
                convert({"a": [value]})
    for other in (object(), len, Text, iter([1]), lambda: None, type(None)):
        with pytest.raises(ConversionError, match=r"\[0\]: a value of type \w+ cannot cross"):
            mirror.echo([other])
    with pytest.raises(ConversionError, match=r"value\['a'\]\.parts\[1\]: a value of type object"):
        mirror.echo({"a": Page("u", [1, object()])})
    with pytest.raises(ConversionError, match=r"value\[0\]\['currency'\]: a value of type object"):
        mirror.echo([Money(1, object())])
