"""What authors mark their functions with: ``@symphony.step`` and ``@symphony.workflow``.

Decorating has no effect but to describe the function; runs are made and driven elsewhere.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from symphony.engine.handles import Handle
from symphony.engine.run_loop import running_run_loop
from symphony.engine.step_context import current_step
from symphony.errors import ConversionError, InvalidInput, WorkflowError
from symphony.step_options import StepOptions
from symphony.values import coerce, json_value
from symphony.values.coercion import Converter, Mismatch, Mode, converter
from symphony.values.signatures import did_you_mean, resolved_hints, source_hash
from symphony.values.type_names import type_name

P = ParamSpec("P")
R = TypeVar("R")

_RECORDED = Mode()


class Step(Generic[P, R]):
    """A step: calling it in workflow code schedules it and returns a handle.

    ``fn`` is the plain function, for unit tests and for use inside other steps.
    """

    def __init__(self, fn: Callable[P, Any], options: StepOptions) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.name = fn.__name__
        self.options = options
        self.is_async = inspect.iscoroutinefunction(fn)
        signature = inspect.signature(fn)
        if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
            raise InvalidInput(f"step {self.name!r} is a generator", hint="return a list instead of yielding")
        if options.model is not None:
            if "model" not in signature.parameters:
                raise InvalidInput(
                    f"step {self.name!r} leases model {options.model!r} but has no parameter 'model'",
                    hint=f"def {self.name}(..., *, model)",
                )
            kept = [parameter for parameter in signature.parameters.values() if parameter.name != "model"]
            signature = signature.replace(parameters=kept)
        self.signature = signature
        parameters = signature.parameters.values()
        self._positional = [p.name for p in parameters if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
        self._plain_counts = _plain_counts(signature)

    def __call__(self, *args: Any, **kwargs: Any) -> Handle[R]:
        """Schedule the step; parameters take values or handles of other steps.

        Raises
        ------
        InvalidInput
            An argument is missing or unknown, or cannot be recorded.
        WorkflowError
            Called outside workflow code, or inside a step.
        """
        loop = running_run_loop()
        if loop is None:
            raise self._called_outside()
        positional, named = self.bind(args, kwargs)
        return loop.calls.call_step(self, positional, named)

    def map(self, values: Iterable[Any], /, **fixed: Any) -> list[Handle[R]]:
        """Schedule the step once for each value or handle; ``fixed`` is passed to every call.

        Example
        -------
        >>> vectors = embed.map(fetch.map(urls))
        """
        if isinstance(values, Handle) or not isinstance(values, Iterable):
            kind = type(values).__name__
            argument = "await handle" if isinstance(values, Handle) else "[...]"
            raise InvalidInput(
                f"step {self.name!r}: map takes an iterable of values or handles, not {kind}",
                hint=f"{self.name}.map({argument})",
            )
        return [self(value, **fixed) for value in values]

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments in one form, however they were passed; an unknown or missing one is an error."""
        if not kwargs and self._plain_counts[0] <= len(args) <= self._plain_counts[1]:
            return args, kwargs
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            unknown = next((name for name in kwargs if name not in self.signature.parameters), None)
            hint = "" if unknown is None else did_you_mean(unknown, self.signature.parameters)
            raise InvalidInput(f"step {self.name!r}: {error}", hint=hint) from None
        return bound.args, bound.kwargs

    def coerce_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Decoded arguments as the parameters' hints say."""
        names = self._positional
        values = tuple(
            self._argument(names[index if index < len(names) else -1], value)
            for index, value in enumerate(args)
        )
        return values, {name: self._argument(name, value) for name, value in kwargs.items()}

    def coerce_result(self, value: Any) -> R:
        """A decoded result as the return hint says."""
        try:
            result: R = (
                self._converters["return"](value, _RECORDED) if "return" in self._converters else value
            )
        except Mismatch as mismatch:
            raise ConversionError(mismatch.message(f"result of {self.name}")) from None
        return result

    def cache_name(self) -> str:
        """The part of the cache key that changes with the code: ``version=`` or the hash of the source."""
        code = self.options.version if self.options.version is not None else self._source
        return f"{self.fn.__module__}.{self.fn.__qualname__}/{code}"

    @functools.cached_property
    def _converters(self) -> dict[str, Converter]:
        return {name: converter(hint) for name, hint in resolved_hints(self.fn).items()}

    @functools.cached_property
    def _source(self) -> str:
        return source_hash(self.fn)

    def _argument(self, name: str, value: Any) -> Any:
        convert = self._converters.get(name)
        if convert is None:
            return value
        try:
            return convert(value, _RECORDED)
        except Mismatch as mismatch:
            raise ConversionError(f"step {self.name!r}: {mismatch.message(name)}") from None

    def _called_outside(self) -> WorkflowError:
        context = current_step.get()
        where = "outside a workflow" if context is None else f"inside step {context.name!r}"
        return WorkflowError(
            f"step {self.name!r} was called {where}", hint=f"call the plain function: {self.name}.fn(...)"
        )

    def __repr__(self) -> str:
        return f"<step {self.name}>"


def _plain_counts(signature: inspect.Signature) -> tuple[int, int]:
    """How few and how many positional arguments alone are a complete call; (1, 0) when no number is."""
    parameters = signature.parameters.values()
    if any(p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters):
        return (1, 0)
    return (sum(p.default is p.empty for p in parameters), len(parameters))


class StepDecorator(Protocol):
    """What ``step(...)`` with options returns."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Step[P, R]: ...


@overload
def step(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
@overload
def step(fn: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    retries: int = 0,
    timeout: float | None = None,
    cache: bool = False,
    model: str | None = None,
    version: str | None = None,
    backoff: float = 1.0,
    idempotent: bool = True,
) -> StepDecorator: ...


def step(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Mark a function, sync or async, as a step.

    Parameters
    ----------
    retries:
        How many more times it is tried after a failed attempt.
    timeout:
        Seconds that one attempt may take. A thread cannot be interrupted: its result is discarded.
    cache:
        Reuse an earlier result, of any run, for the same arguments and the same code.
    model:
        Short or full name of a model; its leased object is passed as the keyword ``model``. A short name
        means the plugin's own model before that of another, unless the user prefers that.
    version:
        What the cache takes for "the same code" in place of a hash of the source.
    backoff:
        Seconds before the second attempt; doubled before each further one, at most five minutes.
    idempotent:
        False where executing it once more does harm: when a death interrupts it, the run waits until a person
        retries it (``symphony runs retry``) or skips it.

    Raises
    ------
    InvalidInput
        An option is unknown or has a wrong value.

    Example
    -------
    >>> @symphony.step(retries=3, timeout=30, cache=True)
    ... async def fetch(url: str) -> str: ...
    """
    if fn is None:
        name = "(not applied yet)"
        StepOptions.checked(name, options)
        return lambda inner: step_of(inner, options)
    if options:
        raise InvalidInput("options of a step are given before the function: @symphony.step(retries=3)")
    return step_of(fn, options)


def step_of(fn: Callable[..., Any], options: dict[str, Any]) -> Step[..., Any]:
    if not inspect.isfunction(fn):
        raise InvalidInput(f"@symphony.step marks functions, got {type(fn).__name__}")
    return Step(fn, StepOptions.checked(fn.__name__, options))


class Workflow:
    """A workflow: an async function whose steps are recorded. ``fn`` is the plain function."""

    def __init__(self, fn: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.name = fn.__name__
        self.summary = next(iter((inspect.getdoc(fn) or "").splitlines()), "")
        self.signature = inspect.signature(fn)
        for parameter in self.signature.parameters.values():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise InvalidInput(
                    f"workflow {self.name!r}: inputs are given by name, {parameter} is not",
                    hint="name each input",
                )

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """Type hints of the inputs and, under "return", of the result."""
        return resolved_hints(self.fn)

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """Name, type, whether it is required, and the default of each input, ready for JSON."""
        described = []
        for parameter in self.signature.parameters.values():
            required = parameter.default is parameter.empty
            described.append(
                {
                    "name": parameter.name,
                    "type": type_name(self.hints.get(parameter.name, Any)),
                    "required": required,
                    "default": None if required else _shown(parameter.default),
                }
            )
        return described

    def coerce_result(self, value: Any) -> Any:
        """The result as the return hint says, or an error that names the place."""
        return coerce(value, self.hints.get("return", Any), "result")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Workflows are started by ``symphony run``. R10, sub-workflows, would begin here.

        Raises
        ------
        WorkflowError
            Always, for now.
        """
        if running_run_loop() is not None:
            raise WorkflowError(
                f"workflow {self.name!r} was called inside a workflow, which is not supported yet",
                hint=f"await {self.name}.fn(...) runs its steps as part of this run",
            )
        raise WorkflowError(
            f"workflow {self.name!r} was called as a function",
            hint="start it with symphony run, or symphony.Host",
        )

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"


def _shown(default: Any) -> Any:
    try:
        return json_value(default)
    except ConversionError:
        return repr(default)


def workflow(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Mark an async function as a workflow; its parameters are its inputs.

    Raises
    ------
    InvalidInput
        The function is not async, takes ``*args`` or ``**kwargs``, or an option is given (there are none).

    Example
    -------
    >>> @symphony.workflow
    ... async def digest(urls: list[str]) -> str: ...
    """
    if options:
        raise InvalidInput(
            f"workflow: unknown option {next(iter(options))!r}", hint="a workflow has no options"
        )
    if fn is None:
        return workflow
    if not inspect.iscoroutinefunction(fn):
        name = getattr(fn, "__name__", type(fn).__name__)
        raise InvalidInput(f"workflow {name!r} must be an async function", hint=f"async def {name}(...)")
    return Workflow(fn)
