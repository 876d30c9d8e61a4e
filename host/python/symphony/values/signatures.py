"""The parameters of an author's function: hints that resolve, names that are known, a hash of the source."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import textwrap
import typing
from types import CodeType
from typing import Any, Final

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# What is longer is no slip, and takes long to compare.
_LONGEST_SLIP: Final = 256


def resolved_hints(fn: Callable[..., Any]) -> dict[str, Any]:
    """The type hints of a function; one that cannot be resolved (TYPE_CHECKING imports) becomes ``Any``."""
    try:
        return typing.get_type_hints(fn, include_extras=True)
    except Exception:  # annotations are the author's code, any error may come out of them
        pass
    hints: dict[str, Any] = {}
    for name, annotation in getattr(fn, "__annotations__", {}).items():
        alone = type("alone", (), {"__annotations__": {name: annotation}, "__module__": fn.__module__})
        try:
            hints[name] = typing.get_type_hints(alone, fn.__globals__, include_extras=True)[name]
        except Exception:  # as above
            hints[name] = Any
    return hints


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint with the closest known name, or the known names when none is close."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1) if len(name) <= _LONGEST_SLIP else []
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(names)}" if names else ""


def source_hash(fn: Callable[..., Any]) -> str:
    """A hash that changes when the function's own code does; code that it calls is not looked at."""
    try:
        text = textwrap.dedent(inspect.getsource(fn))
    except (OSError, TypeError):
        text = repr(_code_parts(fn.__code__))
    return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def _code_parts(code: CodeType) -> tuple[Any, ...]:
    constants = [_code_parts(part) if isinstance(part, CodeType) else repr(part) for part in code.co_consts]
    return (code.co_code, code.co_names, code.co_varnames, constants)
