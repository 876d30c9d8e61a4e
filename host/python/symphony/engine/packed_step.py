"""A step as bytes for another process: where its code is, and its arguments in the bridge's codec.

``pack_step`` makes them in the interpreter, ``execute_packed`` runs them in a process of its own, which has
neither the engine nor the Pit.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import TYPE_CHECKING, Any

from symphony.engine.failures import encode_failure
from symphony.engine.launching import Outcome
from symphony.engine.run_log import FAILED, OK
from symphony.engine.step_context import StepContext, current_step
from symphony.errors import InvalidInput
from symphony.values.codec import native_codec
from symphony.values.secret import ask_for_secrets, redact, refuse_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from symphony.engine.launching import DecodedArguments, StepCall
    from symphony.plugins.source import PluginSource
    from symphony.values.codec import Codec


def pack_step(
    codec: Codec, call: StepCall, arguments: DecodedArguments, sources: Mapping[str, PluginSource]
) -> bytes:
    """The step of ``call`` with these arguments. ``sources`` are the plugins that are loaded.

    Raises
    ------
    InvalidInput
        The step cannot be found by its name in another process.
    """
    fn = call.step.fn
    if "<locals>" in fn.__qualname__ or fn.__module__ == "__main__":
        raise InvalidInput(
            f"step {call.step.name!r} cannot run in another process, which could not find it",
            hint="put it at the top level of a module",
        )
    needed = [source for name, source in sources.items() if source.gives_types or name == call.plugin]
    packed: Any = {
        "step": (fn.__module__, fn.__qualname__),
        "sources": [source.plain() for source in needed],
        "arguments": codec.encode(arguments),
        "context": (call.run, f"{call.run}/{call.key}", call.step.name, call.attempt, call.cwd),
    }
    return codec.encode(packed)


def execute_packed(
    packed: bytes,
    report: Callable[[float, float, str], None] | None,
    reveal: Callable[[str], str] | None,
) -> Outcome:
    """See ``symphony.executors.execute``."""
    from symphony.plugins.source import load_sources

    codec = native_codec()
    content: Any = codec.decode(packed)
    run, key, name, attempt, cwd = content["context"]
    if reveal is not None:
        ask_for_secrets(reveal)

    def told(done: float, total: float, message: str) -> None:
        if report is not None:
            report(done, total, redact(message))

    entered = current_step.set(StepContext(run, key, name, attempt, cwd, told))
    try:
        load_sources(content["sources"])
        step = _found(*content["step"])
        arguments: Any = codec.decode(content["arguments"])
        args, kwargs = step.coerce_arguments(*arguments)
        result = step.fn(*args, **kwargs)
        if step.is_async:
            result = asyncio.run(result)
        return Outcome(OK, refuse_values(codec.encode(result), f"step {name!r}"))
    except BaseException as error:  # SystemExit and KeyboardInterrupt, too, fail only the step
        return Outcome(FAILED, encode_failure(codec, error))
    finally:
        current_step.reset(entered)


def _found(module: str, qualname: str) -> Any:
    """The step of this name. A file plugin's module is there already, and under no name to import it by."""
    from symphony.workflows import Step

    found: Any = sys.modules.get(module) or importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, Step):
        raise InvalidInput(f"there is no step {qualname} in module {module} of this process")
    return found
