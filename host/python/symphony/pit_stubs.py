"""Type stubs of Pit components, written from their method tables.

    python -m symphony.pit_stubs [--check] FOLDER

writes those of the core components (``symphony/pit_types``); ``symphony pit stubs`` those of any component.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH: Final = 110
# What a signature may be made of, and what it is called in a stub.
_TYPES: Final = {
    **{name: name for name in ("bool", "bytes", "float", "int", "memoryview", "str", "Any", "Handle")},
    **{"dict": "dict[str, Any]", "list": "list[Any]", "tuple": "tuple[Any, ...]", "object": "Any"},
}
# By the sign that shows the need of each, in the order of the import statements.
_IMPORTS: Final = (
    (r"\bbuiltins\.", "import builtins", 0),
    (r"\bAsyncGenerator\[", "from collections.abc import AsyncGenerator", 0),
    (r"\bCoroutine\[", "from collections.abc import Coroutine", 0),
    (r"\bAny\b", "from typing import Any, Protocol", 0),
    (r"\A(?!.*\bAny\b)", "from typing import Protocol", 0),
    (r"\bReadableBuffer\b", "from _typeshed import ReadableBuffer", 1),
    (r"\bHandle\b", "from symphony._host import Handle", 2),
)


def class_name(component: str) -> str:
    """``pool_manager`` gives ``PoolManager``."""
    return "".join(word[:1].upper() + word[1:] for word in component.replace("-", "_").split("_"))


def stub(component: Mapping[str, Any]) -> str:
    """The stub of one component, from its element of ``pit list``.

    Example
    -------
    >>> print(stub({"id": "acme.adder", "name": "adder", "description": "Adds", "methods": []}))
    \"\"\"The component acme.adder. Written by `symphony pit stubs`, from its method table.\"\"\"
    <BLANKLINE>
    from typing import Protocol
    <BLANKLINE>
    class Adder(Protocol):
        \"\"\"Adds.\"\"\"
    <BLANKLINE>
    """
    methods = [method for method in component["methods"] if method["name"].isidentifier()]
    taken = {method["name"] for method in methods} & set(vars(builtins))
    summary = component["description"].rstrip(".")
    body = "".join(_method(method, taken) for method in methods)
    text = f"class {class_name(component['name'])}(Protocol):\n{_docstring(f'{summary}.', '    ')}{body}"
    needed = [(line, group) for sign, line, group in _IMPORTS if re.search(sign, text, re.DOTALL)]
    groups = ["\n".join(line for line, group in needed if group == wanted) for wanted in range(3)]
    head = f"The component {component['id']}. Written by `symphony pit stubs`, from its method table."
    imports = "\n\n".join(filter(None, groups))
    return f'"""{head}"""\n\n{imports}\n\n{text}'


def package(components: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The files of ``symphony.pit_types``: one for each component, and ``__init__.pyi`` with all of them."""
    files = {f"{component['name']}.pyi": stub(component) for component in components}
    names = sorted(component["name"] for component in components)
    imports = "".join(
        f"from symphony.pit_types.{name} import {class_name(name)} as {class_name(name)}\n" for name in names
    )
    members = "".join(f"    @property\n    def {name}(self) -> {class_name(name)}: ...\n" for name in names)
    files["__init__.pyi"] = (
        '"""What the core components offer, for type checkers and editors: nothing to import at run time.\n\n'
        "Written by `python -m symphony.pit_stubs`, from the loaded method tables.\n"
        f'"""\n\n{imports}\nclass CorePit:\n    """The core components as attributes."""\n\n{members}'
    )
    return files


def _method(method: Mapping[str, Any], taken: set[str]) -> str:
    try:
        parsed = ast.parse(f"def {method['name']}{method['signature']}: ...").body[0]
        assert isinstance(parsed, ast.FunctionDef)
    except SyntaxError:  # a third party's table may say anything
        parsed = ast.parse(f"def {method['name']}(*args: Any, **kwargs: Any) -> Any: ...").body[0]
        assert isinstance(parsed, ast.FunctionDef)
    arguments = parsed.args
    first_default = len(arguments.args) - len(arguments.defaults)
    given = []
    for index, argument in enumerate(arguments.args):
        text = f"{argument.arg}: {_type(argument.annotation, taken, argument=True)}"
        if index >= first_default:
            text += f" = {_literal(arguments.defaults[index - first_default])}"
        given.append(text)
    if arguments.vararg:
        given += ["*args: Any", "**kwargs: Any"]
    result = _type(parsed.returns, taken)
    if "STREAM" in method["flags"]:
        result = f"AsyncGenerator[{result}, None]"
    elif "ASYNC" in method["flags"]:
        result = f"Coroutine[Any, Any, {result}]"
    line = f"    def {parsed.name}({', '.join(['self', *given])}) -> {result}:"
    if len(line) > WIDTH:
        inner = "".join(f"        {one},\n" for one in ["self", *given])
        line = f"    def {parsed.name}(\n{inner}    ) -> {result}:"
    doc = _docstring(method["doc"], "        ")
    return f"{line}\n{doc}" if doc else f"{line} ...\n"


def _type(node: ast.expr | None, taken: set[str], *, argument: bool = False) -> str:
    """An annotation; what is no known type is ``Any``."""
    if isinstance(node, ast.Constant) and node.value is None:
        return "None"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        left, right = (_type(side, taken, argument=argument) for side in (node.left, node.right))
        return "Any" if left == "Any" else f"{left} | {right}"
    inner: list[ast.expr] = []
    if isinstance(node, ast.Subscript):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in _TYPES:
        return "Any"
    if argument and node.id == "bytes":
        return "ReadableBuffer"
    name = f"{node.id}[{', '.join(_type(one, taken) for one in inner)}]" if inner else _TYPES[node.id]
    return f"builtins.{name}" if node.id in taken else name


def _literal(node: ast.expr) -> str:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return "..."
    if isinstance(value, str):
        return '"' + repr(value)[1:-1].replace('"', r"\"").replace(r"\'", "'") + '"'
    return repr(value)


def _docstring(text: str, indent: str) -> str:
    paragraphs = [" ".join(part.split()) for part in text.replace("\\", "\\\\").split("\n\n") if part.strip()]
    if not paragraphs:
        return ""
    room = WIDTH - len(indent) - len('""""""')
    first, *more = textwrap.wrap(paragraphs[0].replace('"""', "'''"), room)
    rest = "\n\n".join(textwrap.fill(part.replace('"""', "'''"), room) for part in paragraphs[1:])
    lines = "\n".join(more) + (("\n\n" if more else "") + rest if rest else "")
    if not lines:
        closing = ' """' if first.endswith('"') else '"""'
        return f'{indent}"""{first}{closing}\n'
    if not more:
        lines = f"\n{lines}"
    body = textwrap.indent(lines, indent)
    return f'{indent}"""{first}\n{body}\n{indent}"""\n'


def main(argv: Sequence[str] | None = None) -> int:
    """Write the stubs of the core components, or with ``--check`` say which are not what the tables give."""
    from symphony.core_components import core_components
    from symphony.plugins import prober

    parser = argparse.ArgumentParser(prog="python -m symphony.pit_stubs")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1 where they differ")
    options = parser.parse_args(argv)
    files = package(prober.describe([str(path) for path in core_components()]))
    if not options.check:
        options.folder.mkdir(parents=True, exist_ok=True)
    stale = 0
    for name, text in sorted(files.items()):
        path: Path = options.folder / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        print(f"{'differs' if options.check else 'written'}: {path}")
        if not options.check:
            path.write_text(text, encoding="utf-8")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
