"""Inputs of a workflow: from JSON or KEY=VALUE text to typed values, before anything is recorded."""

from __future__ import annotations

import json
import types
import typing
from pathlib import Path, PurePath
from typing import Any

from symphony.errors import ConversionError, InvalidInput
from symphony.values import coerce
from symphony.values.coercion import Mismatch, Mode, converter
from symphony.values.signatures import did_you_mean
from symphony.values.type_names import type_name

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

    from symphony.workflows import Workflow


def bind_inputs(
    workflow: Workflow, given: Mapping[str, Any], text: Mapping[str, str], cwd: Path
) -> dict[str, Any]:
    """Typed inputs of a run that is about to start.

    Parameters
    ----------
    given:
        JSON values by name.
    text:
        KEY=VALUE as typed: text for ``str``, a path for path types, otherwise JSON.
    cwd:
        The folder that relative paths start from.

    Raises
    ------
    InvalidInput
        An input is unknown, missing, given twice, or not of its type; the message names it.
    """
    parameters = workflow.signature.parameters
    for name in [*given, *text]:
        if name not in parameters:
            raise InvalidInput(
                f"workflow {workflow.name!r} has no input {name!r}", hint=did_you_mean(name, parameters)
            )
        if name in given and name in text:
            raise InvalidInput(f"input {name!r} is given twice")
    mode = Mode(json=True, cwd=cwd)
    bound = {}
    for name, parameter in parameters.items():
        hint = workflow.hints.get(name, Any)
        if name in text:
            bound[name] = from_text(name, hint, text[name], mode)
        elif name in given:
            bound[name] = coerce(given[name], hint, name, mode)
        elif parameter.default is parameter.empty:
            raise InvalidInput(
                f"workflow {workflow.name!r} needs input {name!r} ({type_name(hint)})", hint=f"{name}=VALUE"
            )
        else:
            bound[name] = _default(name, hint, parameter.default, mode)
    return bound


def restore_inputs(workflow: Workflow, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded inputs as the hints say, live and on resume alike."""
    return {name: coerce(value, workflow.hints.get(name, Any), name) for name, value in recorded.items()}


def _default(name: str, hint: Any, default: Any, mode: Mode) -> Any:
    """A default is the author's: only a path is looked at, for it may be relative to the working folder."""
    if isinstance(default, PurePath) or (isinstance(default, str) and Path in _members(hint)):
        return coerce(default, hint, name, mode)
    return default


def from_text(name: str, hint: Any, text: str, mode: Mode) -> Any:
    """A VALUE as typed: text for ``str``, a path for path types, otherwise JSON. Raises ``InvalidInput``."""
    plain = [member for member in _members(hint) if member is not type(None)]
    if all(member in (str, Path, PurePath) for member in plain):
        if text == "null" and str not in plain and len(plain) < len(_members(hint)):
            return None
        return coerce(text, hint, name, mode)
    found: Mismatch | None = None
    for candidate in _readings(text):
        try:
            return converter(hint)(candidate, mode)
        except Mismatch as mismatch:
            found = found or mismatch
    assert found is not None  # the text itself is always a reading
    raise ConversionError(found.message(name), hint=f"{name}={_sample(hint)}")


def _readings(text: str) -> list[Any]:
    """What the text can mean, most likely first: JSON, a Python truth value or None, a bare word."""
    words = {"True": True, "False": False, "None": None}
    try:
        return [json.loads(text), text]
    except ValueError:
        return [words[text], text] if text in words else [text]


def _members(hint: Any) -> list[Any]:
    """The types a hint allows, unions and annotations taken apart."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _members(typing.get_args(hint)[0])
    if origin in (typing.Union, types.UnionType):
        return [member for part in typing.get_args(hint) for member in _members(part)]
    return [hint]


def _sample(hint: Any) -> str:
    """An example of what could be typed."""
    origin = typing.get_origin(hint) or hint
    samples = {
        int: "3",
        float: "0.5",
        bool: "true",
        list: "'[...]'",
        dict: "'{...}'",
        tuple: "'[...]'",
        set: "'[...]'",
    }
    return samples.get(origin, type_name(hint)) if isinstance(origin, type) else type_name(hint)
