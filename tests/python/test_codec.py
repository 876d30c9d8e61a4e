"""The durable codec: the same bytes for a value in every process, classes as records, errors with their path.

That it is lossless, and never crashes on bytes that someone else wrote, is tested together with the calls.
"""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symphony import _host
from symphony.errors import ConversionError
from symphony.values import Record

pytestmark = [pytest.mark.python, pytest.mark.property]


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


def test_what_has_no_durable_form_is_named_by_its_path() -> None:
    with pytest.raises(ConversionError, match=r"\['a'\]\[1\]: a value of type object cannot cross"):
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
