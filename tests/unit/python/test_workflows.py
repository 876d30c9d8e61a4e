"""Steps and workflows as authors write them: options, arguments, inputs, and the errors they meet."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

import symphony
from symphony.errors import ConversionError, InvalidInput, WorkflowError
from symphony.values.inputs import bind_inputs
from tests.unit.python.virtual_world import MemoryLog, result_of

if TYPE_CHECKING:
    from symphony.workflows import Step

pytestmark = [pytest.mark.unit, pytest.mark.python]

CWD = Path("/usr")  # a folder that is there


@symphony.step
async def add(a: int, b: int = 1) -> int:
    return a + b


@symphony.step(retries=2, timeout=1.5, cache=True, version="7")
def double(value: int) -> int:
    return 2 * value


@symphony.workflow
async def example(
    urls: list[str], path: symphony.DirectoryPath = Path(), *, top: int = 10, mode: str | None = None
) -> int:
    """Say what it is.

    And more of it.
    """
    return len(urls)


def test_the_plain_function_stays_at_hand() -> None:
    assert asyncio.run(add.fn(1)) == 2
    assert double.fn(4) == 8
    assert double.name == "double"
    assert double.options.retries == 2


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"retry": 3}, "unknown option 'retry'", "did you mean 'retries'?"),
        ({"retries": -1}, "retries must be a whole number of 0 or more, got -1", ""),
        ({"retries": True}, "retries must be a whole number", ""),
        ({"timeout": 0}, "timeout must be a number of seconds above 0", ""),
        ({"timeout": "30"}, "timeout must be a number", ""),
        ({"cache": 1}, "cache must be bool, got int", ""),
        ({"model": 3}, "model must be str", ""),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        symphony.step(**options)
    assert caught.value.hint == hint


def test_what_cannot_be_a_step_is_refused() -> None:
    def generator() -> Any:
        yield 1

    with pytest.raises(InvalidInput, match="is a generator"):
        symphony.step(generator)
    with pytest.raises(InvalidInput, match="marks functions, got int"):
        symphony.step(3)  # type: ignore[call-overload]
    with pytest.raises(InvalidInput, match="has no parameter 'model'"):
        symphony.step(model="small")(lambda text: text)


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        (lambda: add(), "missing a required argument: 'a'", ""),
        (lambda: add(1, c=2), "got an unexpected keyword argument 'c'", "known: a, b"),
        (lambda: double(vale=2), "'value'", "did you mean 'value'?"),
        (
            lambda: double.map(cast("Any", 3)),
            "map takes an iterable of values or handles, not int",
            "double.map([...])",
        ),
        (lambda: double.map(add(1)), "not Handle", "double.map(await handle)"),
    ],
)
def test_a_wrong_call_is_an_error_where_it_is_made(call: Any, message: str, hint: str) -> None:
    @symphony.workflow
    async def calling() -> str:
        with pytest.raises(InvalidInput, match=message) as caught:
            call()
        assert caught.value.hint == hint
        return "refused"

    result = result_of(calling, {}, MemoryLog())
    assert result.value == "refused", result.error


def called_in(inner: Step[..., Any]) -> Any:
    @symphony.workflow
    async def outer() -> Any:
        return await inner()

    return result_of(outer, {}, MemoryLog())


def test_a_step_inside_a_step_is_refused_with_the_way_out() -> None:
    @symphony.step
    async def asynchronous() -> None:
        add(1)

    @symphony.step
    def threaded() -> None:
        add(1)

    for inner in (asynchronous, threaded):
        error = called_in(inner).error
        assert isinstance(error, WorkflowError)
        assert str(error) == f"step 'add' was called inside step {inner.name!r}"
        assert error.hint == "call the plain function: add.fn(...)"


def test_a_step_outside_a_workflow_is_refused() -> None:
    with pytest.raises(WorkflowError, match="'add' was called outside a workflow"):
        add(1)


def test_a_workflow_cannot_be_called() -> None:
    @symphony.workflow
    async def outer() -> Any:
        return await example(["a"])

    assert "not supported yet" in str(result_of(outer, {}, MemoryLog()).error)
    with pytest.raises(WorkflowError, match="called as a function"):
        example(["a"])


def test_what_cannot_be_a_workflow_is_refused() -> None:
    with pytest.raises(InvalidInput, match="must be an async function"):
        symphony.workflow(lambda: None)
    with pytest.raises(InvalidInput, match="unknown option 'retries'"):
        symphony.workflow(retries=3)

    async def variadic(*names: str) -> None: ...

    with pytest.raises(InvalidInput, match="inputs are given by name"):
        symphony.workflow(variadic)


def test_a_workflow_describes_itself() -> None:
    assert example.name == "example"
    assert example.summary == "Say what it is."
    assert example.inputs == [
        {"name": "urls", "type": "list[str]", "required": True, "default": None},
        {"name": "path", "type": "DirectoryPath", "required": False, "default": "."},
        {"name": "top", "type": "int", "required": False, "default": 10},
        {"name": "mode", "type": "str | None", "required": False, "default": None},
    ]


def test_inputs_are_typed_and_completed(tmp_path: Path) -> None:
    bound = bind_inputs(example, {"urls": ["a"]}, {"top": "3"}, tmp_path)
    assert bound == {"urls": ["a"], "path": tmp_path, "top": 3, "mode": None}


@pytest.mark.parametrize(
    ("given", "text", "message"),
    [
        ({"urls": ["a", 2]}, {}, "urls[1]: expected str, got int"),
        ({}, {}, "workflow 'example' needs input 'urls' (list[str])"),
        ({"urls": [], "tp": 3}, {}, "workflow 'example' has no input 'tp'"),
        ({"urls": []}, {"top": "three"}, "top: expected int, got str ('three')"),
        ({"urls": []}, {"path": "nowhere"}, "path: there is no directory /usr/nowhere"),
        ({"urls": []}, {"urls": "[]"}, "input 'urls' is given twice"),
    ],
)
def test_a_wrong_input_is_named(given: dict[str, Any], text: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        bind_inputs(example, given, text, CWD)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


def reading(hint: Any, text: str) -> Any:
    async def fn(value: Any) -> None: ...

    fn.__annotations__["value"] = hint
    return bind_inputs(symphony.workflow(fn), {}, {"value": text}, CWD)["value"]


@pytest.mark.parametrize(
    ("hint", "text", "expected"),
    [
        (str, "true", "true"),
        (str | None, "null", "null"),
        (Path, "a b", Path("/usr/a b")),
        (Path | None, "null", None),
        (bool, "true", True),
        (bool, "False", False),
        (int, "-3", -3),
        (float, "3", 3.0),
        (int | None, "null", None),
        (int | str, "5", 5),
        (int | str, "five", "five"),
        (list[str], '["a"]', ["a"]),
        (list[Path], '["a"]', [Path("/usr/a")]),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (Any, "[1]", [1]),
        (Any, "word", "word"),
    ],
)
def test_text_is_read_as_the_hint_says(hint: Any, text: str, expected: object) -> None:
    found = reading(hint, text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("hint", "text", "message", "sample"),
    [
        (int, "x", "value: expected int, got str ('x')", "value=3"),
        (list[str], "a,b", "value: expected list[str], got str ('a,b')", "value='[...]'"),
        (list[int], '["a"]', "value[0]: expected int, got str ('a')", "value='[...]'"),
        (bool, "maybe", "value: expected bool, got str ('maybe')", "value=true"),
    ],
)
def test_text_that_does_not_fit_is_named_with_a_sample(
    hint: Any, text: str, message: str, sample: str
) -> None:
    with pytest.raises(ConversionError) as caught:
        reading(hint, text)
    assert str(caught.value) == message
    assert caught.value.hint == sample


def test_current_and_progress_need_a_step() -> None:
    for call in (symphony.current, lambda: symphony.progress(1)):
        with pytest.raises(WorkflowError, match="only known inside a step"):
            call()
