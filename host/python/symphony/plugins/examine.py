"""Import a plugin and try its hooks one by one, so that all that is wrong with it is told at once.

Runs in the probe's throw-away process only. Each fault is reported when it is found: a crash loses none.
"""

from __future__ import annotations

import inspect
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pluggy

from symphony import hookspecs
from symphony import workflows as workflows  # so that the plugin is charged with its own modules alone
from symphony.hookspecs import HOOKS
from symphony.plugins.loading import REGISTER, Contributions, import_modules, is_own, own_roots, problem_of
from symphony.plugins.names import did_you_mean
from symphony.plugins.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

    from symphony.plugins.discovery import Candidate


class Examination:
    """One plugin under examination; ``found`` and ``hooks`` are what of it works."""

    def __init__(self, candidate: Candidate, report: Callable[[dict[str, Any]], None]) -> None:
        self._candidate = candidate
        self._own = own_roots(candidate)
        self._report = report
        self.found = Contributions([])
        self.measured: dict[str, Any] = {"modules": 0, "ms": 0.0}

    def run(self) -> None:
        """Import every module and try every hook."""
        before, started = len(sys.modules), time.perf_counter()
        modules = list(self._imported())
        self.measured = {
            "modules": len(sys.modules) - before,
            "ms": round((time.perf_counter() - started) * 1000, 1),
        }
        self._report({"stage": "asked for its contributions", "import": self.measured})
        impls = [impl for module in modules for impl in self._implementations(module)]
        self.found.hooks = sorted({hook for hook, _ in impls})
        for hook, function in impls:
            if hook.startswith(REGISTER):
                self._called(hook, function)
        if modules and not impls:
            self._fault(Problem("no_hooks", "it has no hooks", hint="mark functions @symphony.hookimpl"))

    def _fault(self, problem: Problem) -> None:
        self._report({"fault": problem.json()})

    def _imported(self) -> Iterator[ModuleType]:
        for module in self._candidate.modules or [""]:
            self._report({"stage": "imported"})
            try:
                yield from import_modules(replace(self._candidate, modules=(module,)))
            except BaseException as error:
                self._fault(problem_of(error, self._own))

    def _implementations(self, module: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
        """The hooks of a module that can be called; what keeps the others from it is reported."""
        manager = pluggy.PluginManager("symphony")
        for name in dir(module):
            function = getattr(module, name, None)
            options = manager.parse_hookimpl_opts(module, name)
            if options is None:
                if name in HOOKS and inspect.isfunction(function) and function.__module__ == module.__name__:
                    message = f"{name}() is not marked, so that the host does not call it"
                    self._fault(Problem("hook_unmarked", message, _place(function), "@symphony.hookimpl"))
                continue
            hook = options.get("specname") or name
            if hook not in HOOKS:
                if not options.get("optionalhook"):
                    hint = did_you_mean(hook, HOOKS, f"hooks of this host: {', '.join(HOOKS)}")
                    message = f"there is no hook {hook!r}"
                    self._fault(Problem("unknown_hook", message, _place(function), hint))
            elif inspect.isroutine(function) and self._fits(hook, name, function):
                yield hook, function

    def _fits(self, hook: str, name: str, function: Callable[..., Any]) -> bool:
        given = list(inspect.signature(getattr(hookspecs, hook)).parameters)
        taken = inspect.signature(function).parameters.values()
        wrong = [
            parameter.name
            for parameter in taken
            if parameter.default is parameter.empty
            and (parameter.name not in given or parameter.kind is parameter.KEYWORD_ONLY)
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
        if wrong:
            known = ", ".join(given) or "no arguments"
            message = f"{name}() takes {', '.join(wrong)}; the hook {hook} gives {known}"
            self._fault(
                Problem("hook_arguments", message, _place(function), f"def {name}({', '.join(given)})")
            )
        return not wrong

    def _called(self, hook: str, function: Callable[..., Any]) -> None:
        registry = _Lenient(getattr(self.found, hook.removeprefix(REGISTER)), self._refused)
        takes_it = "registry" in inspect.signature(function).parameters
        try:
            function(registry=registry) if takes_it else function()
        except BaseException as error:
            self._fault(problem_of(error, self._own))

    def _refused(self, error: Exception) -> None:
        frame = inspect.currentframe()
        while frame is not None and not is_own(frame.f_code.co_filename, self._own):
            frame = frame.f_back
        at = None if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
        told = problem_of(error, self._own)
        self._fault(Problem(told.code, told.message, told.at or at, told.hint))


class _Lenient:
    """A registry that reports what it refuses, and goes on."""

    def __init__(self, registry: Any, refused: Callable[[Exception], None]) -> None:
        self._registry = registry
        self._refused = refused

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._registry, name)
        if not callable(method):
            return method

        def called(*args: Any, **kwargs: Any) -> Any:
            try:
                return method(*args, **kwargs)
            except Exception as error:
                self._refused(error)

        return called


def _place(function: Any) -> str | None:
    code = getattr(function, "__code__", None)
    return None if code is None else f"{code.co_filename}:{code.co_firstlineno}"


def examine(candidate: Candidate, report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Examine one plugin: its hooks, what of its contributions works, and what importing it took."""
    from symphony.probe import contributions_json

    examination = Examination(candidate, report)
    examination.run()
    found = examination.found
    try:
        contributions: Sequence[dict[str, Any]] = contributions_json(candidate, found)
    except Exception as error:
        report({"fault": problem_of(error, own_roots(candidate)).json()})
        contributions = []
    return {
        "problem": None,
        "hooks": found.hooks,
        "contributions": contributions,
        "import": examination.measured,
    }
