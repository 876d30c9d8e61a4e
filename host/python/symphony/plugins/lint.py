"""Find effects in workflow code, without running it: what a replay would do again, or see differently.

Looks at functions marked ``@symphony.workflow`` and at the plain functions of the same module that they use;
what they do in steps is theirs. It knows names, not values: an effect behind a variable is not seen.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from symphony.plugins.effects import BY_NAME, CODES, MUTATORS, PATH_METHODS, PLAIN_METHODS, code_of_call

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
ALLOWED: Final = re.compile(r"#\s*symphony:\s*allow\[([\w, ]+)\]")
PATH: Final = "pathlib.Path()"


@dataclass(frozen=True, order=True)
class Finding:
    """One effect in workflow code; ``what`` is the name that stands there."""

    file: str
    line: int
    code: str
    what: str
    workflow: str

    @property
    def message(self) -> str:
        return f"{self.what} in workflow {self.workflow!r}: {CODES[self.code].why}"

    @property
    def hint(self) -> str:
        return f"use {CODES[self.code].instead}"

    @property
    def at(self) -> str:
        return f"{self.file}:{self.line}"


def findings(file: Path, source: str) -> list[Finding]:
    """The effects in the workflow code of a module; none where it has a syntax error."""
    try:
        module = _Module(ast.parse(source))
    except (SyntaxError, ValueError):
        return []
    lines = source.splitlines()
    found: set[Finding] = set()
    for workflow in module.workflows.values():
        for line, code, what in module.effects_of(workflow):
            allowed = ALLOWED.search(lines[line - 1]) if line <= len(lines) else None
            if allowed is None or code not in re.split(r"[,\s]+", allowed[1]):
                found.add(Finding(str(file), line, code, what, workflow.name))
    once: dict[tuple[int, str, str], Finding] = {}
    for finding in sorted(found):  # a function that two workflows use is told once
        once.setdefault((finding.line, finding.code, finding.what), finding)
    return list(once.values())


class _Module:
    """The functions and names of one module."""

    def __init__(self, tree: ast.Module) -> None:
        self.imports = dict(_imports(tree))
        self.functions: dict[str, Function] = {}
        self.containers: set[str] = set()
        self.workflows: dict[str, Function] = {}
        for node in tree.body:
            if isinstance(node, Function):
                self.functions[node.name] = node
            elif isinstance(node, (ast.Assign, ast.AnnAssign)) and _is_container(node.value):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                self.containers |= {target.id for target in targets if isinstance(target, ast.Name)}
        for inner in ast.walk(tree):
            if isinstance(inner, Function) and self.marked(inner, "symphony.workflow"):
                self.workflows[inner.name] = inner

    def marked(self, function: Function, name: str) -> bool:
        marks = (mark.func if isinstance(mark, ast.Call) else mark for mark in function.decorator_list)
        return any(self.dotted(mark, {}) == name for mark in marks)

    def effects_of(self, root: Function) -> Iterator[tuple[int, str, str]]:
        """Line, code and name of each effect in a function and the plain ones that it uses."""
        seen, waiting = {root.name}, [root]
        while waiting:
            function = waiting.pop()
            scope = _Scope(self, function)
            yield from scope.effects()
            for name in scope.used:
                if name not in seen:
                    seen.add(name)
                    waiting.append(self.functions[name])

    def dotted(self, node: ast.AST, local: dict[str, str]) -> str | None:
        """The full name of an expression, calls in it as ``()``; None where it has none."""
        if isinstance(node, ast.Name):
            if node.id in local:
                return local[node.id] or None
            if node.id in self.imports:
                return self.imports[node.id]
            return None if node.id in self.functions or node.id in self.containers else node.id
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value, local)
            return None if base is None else f"{base}.{node.attr}"
        if isinstance(node, ast.Call):
            base = self.dotted(node.func, local)
            return None if base is None else f"{base}()"
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            return PATH if self.dotted(node.left, local) == PATH else None
        return None


class _Scope:
    """One function; ``local`` has the full names of its variables, empty where they are not known."""

    def __init__(self, module: _Module, function: Function) -> None:
        self._module = module
        self._function = function
        self._globals: set[str] = set()
        self._values: dict[str, ast.expr] = {}
        self.used: list[str] = []
        self.local: dict[str, str] = {}
        self._nodes = list(_own_nodes(module, function))
        self._bind()

    def _bind(self) -> None:
        for node in self._nodes:
            if isinstance(node, ast.arg):
                self.local[node.arg] = PATH if self._is_path(node.annotation) else ""
            elif isinstance(node, (Function, ast.ClassDef)):
                self.local[node.name] = ""
            elif isinstance(node, ast.Global):
                self._globals |= set(node.names)
        for node in self._nodes:
            if (
                isinstance(node, ast.Name)
                and isinstance(node.ctx, ast.Store)
                and node.id not in self._globals
            ):
                self.local.setdefault(node.id, "")
        for node in self._nodes:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                self._values[name] = node.value
                if self.local.get(name) == "" and self._module.dotted(node.value, self.local) == PATH:
                    self.local[name] = PATH

    def _is_path(self, annotation: ast.expr | None) -> bool:
        return annotation is not None and self._module.dotted(annotation, {}) in (
            "pathlib.Path",
            "symphony.DirectoryPath",
            "symphony.FilePath",
        )

    def effects(self) -> Iterator[tuple[int, str, str]]:
        for node in self._nodes:
            for code, what in self._effects_in(node):
                yield getattr(node, "lineno", self._function.lineno), code, what

    def _effects_in(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        if isinstance(node, (ast.Name, ast.Attribute)):
            yield from self._reference(node)
        if isinstance(node, ast.Call):
            yield from self._call(node)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in self._globals:
            yield "global", f"a change of the global {node.id}"
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)):
            yield from self._change(node.value)

    def _reference(self, node: ast.Name | ast.Attribute) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in self.local:
            known = self._module.functions.get(node.id)
            if known is not None and not any(
                self._module.marked(known, mark) for mark in ("symphony.step", "symphony.workflow")
            ):
                self.used.append(node.id)
        if isinstance(node, ast.Attribute) and node.attr == "fn":
            step = node.value
            if isinstance(step, ast.Name) and step.id in self._module.functions.keys() - self.local.keys():
                self.used.append(step.id)  # a step's plain function, without the step
        name = self._module.dotted(node, self.local)
        if name in BY_NAME:
            yield BY_NAME[name], name

    def _call(self, node: ast.Call) -> Iterator[tuple[str, str]]:
        name = self._module.dotted(node.func, self.local)
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name is not None:
            seeded = name == "random.Random" and bool(node.args)
            code = None if seeded or "()" in name or name in BY_NAME else code_of_call(name)
            if code is not None:
                yield code, f"{name}()"
            elif name.startswith(f"{PATH}.") and method in PATH_METHODS:
                yield "file", f"Path.{method}()"
            elif name == "asyncio.as_completed" and node.args and self._has_coroutines(node.args[0]):
                yield "order", "asyncio.as_completed() of coroutines"
        if method in PLAIN_METHODS and (name is None or not name.startswith(PATH)):
            yield "file", f".{method}()"
        if method in MUTATORS and isinstance(node.func, ast.Attribute):
            yield from self._change(node.func.value)

    def _change(self, node: ast.expr) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.Name) and node.id in self._module.containers and node.id not in self.local:
            yield "global", f"a change of the global {node.id}"

    def _has_coroutines(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Name):
            value = self._values.get(node.id)
            return value is not None and not isinstance(value, ast.Name) and self._has_coroutines(value)
        wrapped = {id(inner) for task in ast.walk(node) if _makes_task(task) for inner in ast.walk(task)}
        return any(
            isinstance(call, ast.Call) and id(call) not in wrapped and self._is_coroutine(call.func)
            for call in ast.walk(node)
        )

    def _is_coroutine(self, function: ast.expr) -> bool:
        if not isinstance(function, ast.Name):
            return False
        inner = (node for node in self._nodes if isinstance(node, ast.AsyncFunctionDef))
        known = {node.name: node for node in inner} | {
            name: node
            for name, node in self._module.functions.items()
            if isinstance(node, ast.AsyncFunctionDef)
        }
        found = known.get(function.id)
        return found is not None and not self._module.marked(found, "symphony.step")


def _makes_task(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in ("create_task", "ensure_future")


def _own_nodes(module: _Module, function: Function) -> Iterator[ast.AST]:
    """All nodes of a function's body and arguments, without annotations, decorators, and steps inside it."""
    waiting: list[ast.AST] = [function.args, *function.body]
    while waiting:
        node = waiting.pop(0)
        yield node
        if isinstance(node, Function):
            if not module.marked(node, "symphony.step"):
                waiting += [node.args, *node.body]
        elif isinstance(node, ast.AnnAssign):
            waiting += [node.target, *([node.value] if node.value else [])]
        elif not isinstance(node, ast.arg):
            waiting += ast.iter_child_nodes(node)


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else ((alias.name.partition(".")[0],) * 2)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _is_container(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return value.func.id in ("list", "dict", "set", "deque", "defaultdict", "Counter")
    return isinstance(value, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp))
