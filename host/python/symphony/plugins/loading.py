"""Import one plugin and collect what its hooks contribute: all of it or nothing.

The probe (in a child process) and the managed interpreter both go through here, so that what was probed is
what gets loaded. Whoever calls this runs the plugin's code; the command line never does.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pluggy

from symphony import hookspecs
from symphony.errors import Conflict, Incompatible, InvalidInput
from symphony.hookspecs import HOOKS
from symphony.plugins.discovery import Candidate, roots
from symphony.plugins.names import OBSERVING, did_you_mean
from symphony.plugins.problem import Problem
from symphony.plugins.registry import (
    CommandRegistry,
    ComponentRegistry,
    ExecutorRegistry,
    ModelRegistry,
    TypeRegistry,
    WorkflowRegistry,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Sequence
    from types import CodeType, ModuleType, TracebackType

    from symphony.engine.middleware import Middleware
    from symphony.plugins.configuration import PluginConfig

REGISTER: Final = "register_"
LIFE: Final = ("interpreter_started", "interpreter_stopping")


class WrongSetting(InvalidInput):
    """What ``configure`` said about the plugin's settings: nothing is wrong with the plugin itself."""


@dataclass
class Contributions:
    """What one plugin's hooks registered; a hook ``register_X`` is called with the registry ``X``."""

    hooks: list[str]
    workflows: WorkflowRegistry = field(default_factory=WorkflowRegistry)
    models: ModelRegistry = field(default_factory=ModelRegistry)
    components: ComponentRegistry = field(default_factory=ComponentRegistry)
    types: TypeRegistry = field(default_factory=TypeRegistry)
    executors: ExecutorRegistry = field(default_factory=ExecutorRegistry)
    commands: CommandRegistry = field(default_factory=CommandRegistry)
    observers: dict[str, list[Callable[[Any], Any]]] = field(default_factory=dict)
    conductor: Any = None
    middleware: list[Middleware] = field(default_factory=list)
    life: dict[str, list[Callable[..., Any]]] = field(default_factory=dict)

    def named(self) -> dict[str, Collection[str]]:
        """The names that it gives, by kind; components have theirs in their libraries."""
        return {
            "workflow": self.workflows.items,
            "model": self.models.items,
            "type": self.types.names,
            "executor": self.executors.items,
            "command": self.commands.items,
        }


def import_modules(candidate: Candidate) -> list[ModuleType]:
    """Import the plugin's modules; whatever they raise comes through."""
    if candidate.file:
        return [_import_file(candidate.file, candidate.content)]
    return [importlib.import_module(name) for name in candidate.modules]


class _Checked(SourceFileLoader):
    """Executes the content that was looked at: neither what the file has by now, nor a ``.pyc`` beside it."""

    def __init__(self, name: str, path: Path, content: bytes) -> None:
        super().__init__(name, str(path))
        self._content = content

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self._content, self.path)


def _import_file(path: Path, content: bytes) -> ModuleType:
    # The hash of the folder keeps two files of one stem apart; a prefix keeps json.py from being `json`.
    folder = hashlib.sha256(str(path.parent).encode()).hexdigest()[:8]
    name = f"symphony_file_{folder}_{path.stem.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Checked(name, path, content))
    if spec is None or spec.loader is None or path.suffix != ".py":
        raise InvalidInput(f"{path} is not a Python file", hint="a file plugin ends in .py")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise
    return module


def collect(
    name: str,
    modules: Sequence[ModuleType],
    *,
    config: PluginConfig | None = None,
    only: Container[str] = HOOKS,
) -> Contributions:
    """Check a plugin's hooks and call them, or ``only`` some.

    Without ``config``, as in the probe, those named register_*: only where it is to be used is a plugin
    configured and asked for what it does there.
    """
    manager = pluggy.PluginManager("symphony")
    manager.add_hookspecs(hookspecs)
    for module in modules:
        manager.register(module, f"{name}:{module.__name__}")
    _refuse_unknown_hooks(manager, modules)
    implemented = [hook for hook in HOOKS if getattr(manager.hook, hook).get_hookimpls()]
    found = Contributions(implemented, types=TypeRegistry(name))
    if config is not None:
        _configure(manager, config)
    for hook in HOOKS:
        if hook.startswith(REGISTER) and hook in only:
            getattr(manager.hook, hook)(registry=getattr(found, hook.removeprefix(REGISTER)))
    found.observers = {hook: _functions(manager, hook) for hook in OBSERVING if hook in implemented}
    if config is not None and "conductor" in only:
        found.conductor = manager.hook.conductor()
        if found.conductor is not None and not callable(getattr(found.conductor, "order", None)):
            raise InvalidInput(
                f"conductor() returned a {type(found.conductor).__name__} without order(ready, free)"
            )
    if config is not None and "step_middleware" in only:
        found.middleware = [_checked_middleware(each) for each in reversed(manager.hook.step_middleware())]
    for hook in LIFE:
        found.life[hook] = [impl.function for impl in getattr(manager.hook, hook).get_hookimpls()]
    return found


def _checked_middleware(middleware: Any) -> Middleware:
    if not inspect.iscoroutinefunction(middleware):
        raise InvalidInput(
            f"step_middleware() returned a {type(middleware).__name__}, not an async function",
            hint="async def middleware(call, next): return await next(call)",
        )
    checked: Middleware = middleware
    return checked


def _configure(manager: pluggy.PluginManager, config: PluginConfig) -> None:
    if config and not manager.hook.configure.get_hookimpls():
        place = config.place(next(iter(config)))
        raise WrongSetting(f"{place}: plugin {config.plugin} has no settings")
    try:
        manager.hook.configure(config=config)
    except InvalidInput as error:
        raise WrongSetting(str(error), hint=error.hint) from error


def _functions(manager: pluggy.PluginManager, hook: str) -> list[Callable[[Any], Any]]:
    """The plugin's own functions: one that raises must not keep the event from the others."""
    found: list[Callable[[Any], Any]] = []
    for impl in getattr(manager.hook, hook).get_hookimpls():
        function: Callable[..., Any] = impl.function
        found.append(function if impl.argnames else _without_arguments(function))
    return found


def _without_arguments(function: Callable[[], Any]) -> Callable[[Any], Any]:
    return lambda _event: function()


def _refuse_unknown_hooks(manager: pluggy.PluginManager, modules: Sequence[ModuleType]) -> None:
    for module in modules:
        for attribute in dir(module):
            options = manager.parse_hookimpl_opts(module, attribute)
            if options is None or options.get("optionalhook"):
                continue
            hook = options.get("specname") or attribute
            if hook not in HOOKS:
                raise InvalidInput(
                    f"{module.__name__}.{attribute}: there is no hook {hook!r}",
                    hint=did_you_mean(hook, HOOKS, f"hooks of this host: {', '.join(HOOKS)}"),
                )


def own_roots(candidate: Candidate) -> list[Path]:
    """Where the plugin's own code lies, to tell its frames from everybody else's."""
    return [candidate.file] if candidate.file else roots(candidate.modules)


def is_own(filename: str, own: Sequence[Path]) -> bool:
    """Whether a frame's file belongs to the plugin."""
    path = Path(filename)
    return any(path == root or root in path.parents for root in own)


def problem_of(error: BaseException, own: Sequence[Path]) -> Problem:
    """Name what a plugin raised, and the innermost frame of the plugin itself."""
    at = own_frame(error.__traceback__, own)
    if isinstance(error, SystemExit):
        status = error.code if error.code is not None else 0
        return Problem(
            "sys_exit",
            f"called sys.exit({status!r}) while it was being loaded",
            at,
            "move the call behind: if __name__ == '__main__'",
        )
    if isinstance(error, WrongSetting):
        return Problem("setting", str(error), None, error.hint)
    if isinstance(error, Incompatible):
        return Problem("abi", str(error), at, error.hint)
    if isinstance(error, Conflict):
        return Problem("conflict", str(error), at, error.hint)
    if isinstance(error, SyntaxError):
        at = f"{error.filename}:{error.lineno}" if error.filename and error.lineno else at
        return Problem("raised", f"{type(error).__name__}: {error.msg}", at, "mend the file")
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be shown)"
    if isinstance(error, pluggy.PluginValidationError):
        text = text.splitlines()[-1]
    message = f"{type(error).__name__}: {text}" if text else type(error).__name__
    hint = getattr(error, "hint", "") or ""
    if isinstance(error, ModuleNotFoundError) and error.name:
        hint = f"install what provides the module {error.name!r} into this environment"
    return Problem("raised", message[:500], at, hint if isinstance(hint, str) else "")


def own_frame(frames: TracebackType | None, own: Sequence[Path]) -> str | None:
    """``file:line`` of the innermost frame that belongs to the plugin."""
    found = None
    for frame, line in traceback.walk_tb(frames):
        if is_own(frame.f_code.co_filename, own):
            found = f"{frame.f_code.co_filename}:{line}"
    return found
