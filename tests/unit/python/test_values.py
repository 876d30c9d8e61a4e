"""Values and type hints: what fits, what is rebuilt, and where an error says the mismatch is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict
from uuid import UUID

import pytest

import symphony
from symphony.errors import ConversionError
from symphony.values import Record, coerce, json_value
from symphony.values.coercion import Mode
from symphony.values.type_names import type_name

pytestmark = [pytest.mark.unit, pytest.mark.python]

JSON = Mode(json=True, cwd=Path("/folder"))


@dataclasses.dataclass
class Tree:
    size: int
    kids: list[Tree] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Doubled:
    value: int

    def __post_init__(self) -> None:
        self.value *= 2


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Colour(Enum):
    RED = 1
    BLUE = 2


class Options(TypedDict):
    depth: int
    names: NotRequired[list[str]]


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        ([1, 2], list[int], [1, 2]),
        ((1, "a"), tuple[int, str], (1, "a")),
        ((), tuple[()], ()),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        ({1, 2}, set[int], {1, 2}),
        ((1, 2), Sequence[int], (1, 2)),
        ({"a": 1}, Mapping[str, int], {"a": 1}),
        (None, int | None, None),
        (5, float | int, 5),
        (
            Record("Tree", {"size": 1, "kids": [Record("Tree", {"size": 2, "kids": []})]}),
            Tree,
            Tree(1, [Tree(2)]),
        ),
        (Record("Pair", {"left": 1, "right": "x"}), Pair, Pair(1, "x")),
        (Record("Colour", {"name": "BLUE", "value": 2}), Colour, Colour.BLUE),
        ({"depth": 1}, Options, {"depth": 1}),
        (object, Any, object),
        (b"x", bytes, b"x"),
        (3, Annotated[int, "of what"], 3),
    ],
)
def test_a_recorded_value_comes_back_as_its_hint_says(value: object, hint: Any, expected: object) -> None:
    found = coerce(value, hint)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        ("a/b", Path, Path("/folder/a/b")),
        (["a", "/b"], list[Path], [Path("/folder/a"), Path("/b")]),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([2, 1, 1], set[int], {1, 2}),
        ("2024-01-02", date, date(2024, 1, 2)),
        ("2024-01-02T03:04:05+00:00", datetime, datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (1.5, timedelta, timedelta(seconds=1.5)),
        ("0.10", Decimal, Decimal("0.10")),
        ("12345678123456781234567812345678", UUID, UUID("12345678123456781234567812345678")),
        ("BLUE", Colour, Colour.BLUE),
        (2, Colour, Colour.BLUE),
        ("AA==", bytes, b"\x00"),
        ({"1": 2}, dict[int, int], {1: 2}),
        ({"size": 1, "kids": [{"size": 2}]}, Tree, Tree(1, [Tree(2)])),
        ([1], Pair, Pair(1, "r")),
        ("fast", Literal["fast", "slow"], "fast"),
    ],
)
def test_a_json_value_becomes_what_its_hint_says(value: object, hint: Any, expected: object) -> None:
    found = coerce(value, hint, mode=JSON)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        (["a", "b", "c", 4], list[str], "urls[3]: expected str, got int"),
        ("soon", float, "urls: expected float, got str ('soon')"),
        ({"a": {"b": [None]}}, dict[str, dict[str, list[int]]], "urls['a']['b'][0]: expected int, got None"),
        ({"size": "1"}, Tree, "urls.size: expected int, got str ('1')"),
        (
            {"size": 1, "kids": [{"size": 2, "kid": []}]},
            Tree,
            "urls.kids[0]: unknown field 'kid', did you mean 'kids'?",
        ),
        ({}, Tree, "urls: missing field 'size'"),
        ({}, Options, "urls: missing field 'depth'"),
        ({"depth": 1, "names": [1]}, Options, "urls.names[0]: expected str, got int"),
        ([1, 2], tuple[int], "urls: expected 1 items, got 2"),
        (True, int, "urls: expected int, got bool"),
        (5, Literal["a", "b"], "urls: expected one of 'a', 'b', got int"),
        ("C", Colour, "urls: expected Colour (RED, BLUE), got str ('C')"),
        (1.5, int | str | None, "urls: expected int | str | None, got float"),
        ("/is/not/there", symphony.DirectoryPath, "urls: there is no directory /is/not/there"),
        (__file__, symphony.DirectoryPath, f"urls: {__file__} is not a directory"),
        ("/tmp", symphony.FilePath | None, "urls: /tmp is not a file"),
    ],
)
def test_a_mismatch_names_its_place(value: object, hint: Any, message: str) -> None:
    with pytest.raises(ConversionError) as caught:
        coerce(value, hint, "urls", JSON)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


def test_a_recorded_dataclass_is_not_initialised_twice() -> None:
    assert coerce(Record("Doubled", {"value": 4}), Doubled).value == 4
    assert coerce({"value": 4}, Doubled, mode=JSON).value == 8


def test_a_hint_that_only_a_type_checker_knows_lets_everything_pass() -> None:
    hints = {"known": int, "unknown": "NotImported"}
    kind = dataclasses.make_dataclass("Half", hints)
    assert coerce({"known": "x", "unknown": 1}, kind, mode=JSON).known == "x"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Tree(1, [Tree(2)]), {"size": 1, "kids": [{"size": 2, "kids": []}]}),
        (Pair(1, "x"), {"left": 1, "right": "x"}),
        (Record("Gone", {"a": (1, 2)}), {"a": [1, 2]}),
        ({3, 1, 2}, [1, 2, 3]),
        ({1: Colour.RED, date(2024, 1, 2): b"\x00"}, {"1": 1, "2024-01-02": "AA=="}),
        ([math.inf, -math.inf, 1.5], ["Infinity", "-Infinity", 1.5]),
        (
            {"p": Path("/a"), "d": timedelta(minutes=1), "n": Decimal("1.0")},
            {"p": "/a", "d": 60.0, "n": "1.0"},
        ),
        (range(3), [0, 1, 2]),
        (None, None),
    ],
)
def test_json_of_values(value: object, expected: object) -> None:
    assert json_value(value) == expected


def test_json_of_arrays() -> None:
    import numpy

    assert json_value({"v": numpy.ones((1, 2), dtype="float32"), "n": numpy.int64(3)}) == {
        "v": [[1.0, 1.0]],
        "n": 3,
    }


def test_a_value_without_json_form_is_named() -> None:
    with pytest.raises(ConversionError, match=r"result\.a\[1\]: object has no JSON form"):
        json_value({"a": [1, object()]})


@pytest.mark.parametrize(
    ("hint", "name"),
    [
        (dict[str, list[int] | None], "dict[str, list[int] | None]"),
        (symphony.DirectoryPath | None, "DirectoryPath | None"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Literal["a", 1], "Literal['a', 1]"),
        (Any, "any"),
    ],
)
def test_hints_have_short_names(hint: Any, name: str) -> None:
    assert type_name(hint) == name
