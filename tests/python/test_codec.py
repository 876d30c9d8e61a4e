"""The durable codec is lossless, deterministic, and never crashes on bytes that someone else wrote."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symphony import _host
from symphony.errors import ConversionError
from symphony.values import Record

pytestmark = [pytest.mark.python, pytest.mark.property]

ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=-3, minutes=-30))])
HASHABLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.complex_numbers(allow_nan=False),
    st.dates(),
    st.times(timezones=ZONES),
    st.datetimes(timezones=ZONES),
    st.timedeltas(),
    st.uuids(),
    st.decimals(allow_nan=False),
    st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 4)),
)
VALUES = st.recursive(
    st.one_of(HASHABLE, st.binary().map(bytearray)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(HASHABLE, inner, max_size=4),
        st.sets(HASHABLE, max_size=4),
        st.frozensets(HASHABLE, max_size=4),
    ),
    max_leaves=12,
)


def same(left: Any, right: Any) -> bool:
    """Equal in value and in type, all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            same(key, other) and same(left[key], right[other]) for key, other in zip(left, right, strict=True)
        )
    if isinstance(left, float):
        return repr(left) == repr(right)
    return bool(left == right)


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_every_value_comes_back_with_its_type(value: Any) -> None:
    encoded = _host.encode(value)
    assert same(_host.decode(encoded), value)
    assert _host.encode(_host.decode(encoded)) == encoded


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_foreign_bytes_are_an_error_and_never_a_crash(data: bytes) -> None:
    # Which error depends on the type that the bytes pretend to be; what counts is that it is an ordinary one.
    with contextlib.suppress(ValueError, TypeError, KeyError, IndexError, OverflowError, ArithmeticError):
        _host.decode(data)


@given(st.integers(0, 400))
@settings(max_examples=30, deadline=None)
def test_every_truncation_is_an_error(cut: int) -> None:
    whole = _host.encode(
        {"a": [1, 2.5, "text", b"bytes", {1, 2}], "b": (None, True, 2**90), "c": date(2026, 1, 2)}
    )
    with pytest.raises(ValueError, match="cut off"):
        _host.decode(whole[: cut % len(whole)])


def test_equal_sets_give_equal_bytes_in_every_process() -> None:
    program = "from symphony import _host; print(_host.encode({'a', 'b', 'c', ('d', 1), None}).hex())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1


class Colour(Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Page:
    url: str
    sizes: list[int]


def test_classes_come_back_as_records_until_a_hint_names_them() -> None:
    assert _host.decode(_host.encode(Page("u", [1]))) == Record("Page", {"url": "u", "sizes": [1]})
    assert _host.decode(_host.encode(Point(1, 2))) == Record("Point", {"x": 1, "y": 2})
    assert _host.decode(_host.encode(Colour.RED)) == Record("Colour", {"name": "RED", "value": "red"})
    assert _host.decode(_host.encode(Path("/a/b"))) == Path("/a/b")


def test_arrays_keep_dtype_and_shape() -> None:
    for array in (
        numpy.arange(6, dtype="<f4").reshape(2, 3),
        numpy.asfortranarray(numpy.arange(6, dtype=">i2").reshape(2, 3)),
        numpy.zeros((0, 4)),
        numpy.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    ):
        back = _host.decode(_host.encode(array))
        assert back.dtype == array.dtype
        assert back.shape == array.shape
        assert (back == array).all()
        back.flags.writeable  # noqa: B018 (a step may change what it was given)
    scalar = _host.decode(_host.encode(numpy.float32(1.5)))
    assert scalar == 1.5
    assert scalar.dtype == numpy.float32


def test_what_has_no_durable_form_is_named_by_its_path() -> None:
    with pytest.raises(ConversionError, match=r"\['a'\]\[1\]: a value of type object has no durable form"):
        _host.encode({"a": [1, object()]})
    with pytest.raises(ConversionError, match=r"\.sizes\[0\]: a value of type object"):
        _host.encode(Page("u", [object()]))  # type: ignore[list-item]
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(ConversionError, match="a cycle"):
        _host.encode(cycle)
    assert math.isnan(_host.decode(_host.encode(float("nan"))))


def test_exact_times() -> None:
    for value in (
        datetime(2026, 10, 25, 2, 30, fold=1),
        datetime(2026, 1, 1, tzinfo=UTC),
        time(1, 2, 3, 4),
        timedelta(days=-1, microseconds=1),
        UUID(int=5),
        Decimal("1.10"),
    ):
        back = _host.decode(_host.encode(value))
        assert repr(back) == repr(value)
