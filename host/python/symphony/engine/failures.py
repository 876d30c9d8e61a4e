"""Exceptions of steps as records, and back.

A builtin exception, or one of Symphony's own, that survives the trip unchanged is raised as itself; any
other becomes ``StepFailed``. The same in the live run as on replay, since both go through here.
"""

from __future__ import annotations

import builtins
import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from symphony import errors
from symphony.errors import ConversionError, StepFailed, SymphonyError
from symphony.values.secret import holds_value, redact

if TYPE_CHECKING:
    from types import TracebackType

    from symphony.values.codec import Codec

_TRACEBACK_CHARACTERS: Final = 2000
_LINE_CHARACTERS: Final = 1000
_MESSAGE_CHARACTERS: Final = 10_000
_REBUILD_BYTES: Final = 64 * 1024
_ENGINE: Final = str(Path(__file__).parent) + os.sep
# A coroutine or future cannot raise these: Python itself gives them a meaning there.
_NEVER: Final = (StopIteration, StopAsyncIteration, BaseExceptionGroup)


def encode_failure(codec: Codec, error: BaseException) -> bytes:
    """The record of an exception: class, what rebuilds it, message, the end of the traceback's text."""
    lines = traceback.format_exception(type(error), error, _author_frames(error))
    text = redact("".join(_cut(line) for line in lines))[-_TRACEBACK_CHARACTERS:]
    name = type(error).__name__
    message = redact(message_of(error))
    for rebuild in (_parts(error), None):
        try:
            encoded = codec.encode((name, rebuild, message, text))
        except (ConversionError, ValueError, TypeError):
            continue
        if holds_value(encoded) or (rebuild is not None and len(encoded) > _REBUILD_BYTES):
            continue
        if rebuild is None or _same(decode_failure(codec, encoded)[0], error):
            return encoded
    return codec.encode((_printable(name), None, _printable(message), _printable(text)))


def _cut(line: str) -> str:
    """A long message must not push the frames out of the traceback."""
    return line if len(line) <= _LINE_CHARACTERS else f"{line[:_LINE_CHARACTERS]}…\n"


def _author_frames(error: BaseException) -> TracebackType | None:
    """The traceback from the step's own code on; the engine's frames in front tell an author nothing."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_ENGINE):
        frame = frame.tb_next
    return frame


def decode_failure(codec: Codec, encoded: bytes) -> tuple[Exception, str]:
    """The exception to raise, and the traceback's text."""
    record: Any = codec.decode(encoded)
    name, rebuild, message, text = record
    if rebuild is not None:
        kind = _known(name)
        if kind is not None:
            try:
                return _rebuild(kind, *rebuild), text
            except Exception:  # a constructor that refuses its own arguments
                pass
    return StepFailed(f"{name}: {message}" if message else name, type=name, traceback=text), text


def failure_summary(codec: Codec, encoded: bytes) -> tuple[str, str]:
    """The class of the exception, and class and message in one line."""
    record: Any = codec.decode(encoded)
    name, _, message, _ = record
    return name, f"{name}: {message}"


def _known(name: str) -> type[Exception] | None:
    kind = getattr(builtins, name, None) or getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, _NEVER):
        return kind
    return None


def _parts(error: BaseException) -> tuple[Any, ...] | None:
    kind = type(error)
    if _known(kind.__name__) is not kind:
        return None
    if isinstance(error, SymphonyError):
        state = {name: value for name, value in vars(error).items() if name != "__notes__"}
        return (error.args, state)
    reduced = error.__reduce__()  # knows what ``args`` leaves out, such as the file name of an OSError
    if not isinstance(reduced, tuple) or reduced[0] is not kind:
        return None
    return (reduced[1], dict(reduced[2]) if len(reduced) > 2 and reduced[2] else {})


def _rebuild(kind: type[Exception], arguments: tuple[Any, ...], state: dict[str, Any]) -> Exception:
    error = kind(*arguments)
    for name, value in state.items():
        setattr(error, name, value)
    return error


def _same(back: Exception, error: BaseException) -> bool:
    return type(back) is type(error) and back.args == error.args and str(back) == str(error)


def message_of(error: BaseException) -> str:
    """The exception's text; of a very long one, which may be all that a server answered, its beginning."""
    try:
        text = str(error)
    except BaseException:  # __str__ is the author's code, and the end must be recorded all the same
        return "(its message cannot be shown)"
    if len(text) <= _MESSAGE_CHARACTERS:
        return text
    return f"{text[:_MESSAGE_CHARACTERS]}… ({len(text):,} characters)"


def _printable(text: str) -> str:
    """Lone surrogates cannot be encoded, and a failure must always have a record."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
