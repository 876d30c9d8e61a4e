"""The hooks as their specifications describe them: what ``symphony plugins hooks`` and docs/hooks.md show.

    python -m symphony.hook_reference [--check] FILE

writes the page. It imports no plugin.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from symphony import hookspecs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_HEAD: Final = """# Hooks

What a plugin can tell the host, or be told by it: functions marked with `@symphony.hookimpl` in the modules
of its entry points. A function may take fewer arguments than the hook, never more; a name that is no hook is
an error that names the closest. All of a plugin's hooks are loaded, or none.

`symphony plugins hooks` lists them with the plugins that implement them, `symphony plugins hooks HOOK` shows
one. This page is written by `python -m symphony.hook_reference docs/hooks.md`.

| hook | since API | what for |
| --- | --- | --- |
"""
_SECTION: Final = re.compile(r"^(Parameters|Returns|Raises|Example)\n-+\n", re.M)
_ITEM: Final = re.compile(r"^(\w[\w, ]*):$", re.M)


@dataclass(frozen=True)
class Hook:
    """One hook. ``doc`` is its docstring, ``deprecated`` says what to use instead of one that is to go."""

    name: str
    signature: str
    since: int
    deprecated: str
    doc: str

    @property
    def summary(self) -> str:
        return self.doc.partition("\n")[0]

    def json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "since": self.since,
            "deprecated": self.deprecated,
            "summary": self.summary,
        }


def hooks() -> list[Hook]:
    """All hooks, by name.

    Example
    -------
    >>> [hook.signature for hook in hooks() if hook.name == "conductor"]
    ['conductor() -> Policy | None']
    """
    return [_hook(name) for name in hookspecs.HOOKS]


def _hook(name: str) -> Hook:
    spec: Callable[..., Any] = getattr(hookspecs, name)
    terms = hookspecs.TERMS[name]
    signature = str(inspect.signature(spec)).replace("'", "")  # annotations are text, and shown as such
    return Hook(name, name + signature, terms.since, terms.deprecated, inspect.getdoc(spec) or "")


def page() -> str:
    """The text of docs/hooks.md."""
    known = hooks()
    rows = [f"| [`{hook.name}`](#{hook.name}) | {hook.since} | {_inline(hook.summary)} |" for hook in known]
    sections = ["\n".join(_section(hook)) for hook in known]
    return _HEAD + "\n".join([*rows, "", *sections])


def _section(hook: Hook) -> Iterator[str]:
    yield f"## {hook.name}\n"
    yield f"```python\ndef {hook.signature}: ...\n```\n"
    if hook.deprecated:
        yield f"Deprecated: {_inline(hook.deprecated)}\n"
    prose, *rest = _SECTION.split(hook.doc)
    yield _inline(prose.strip()) + "\n"
    for title, text in zip(rest[::2], rest[1::2], strict=True):
        if title == "Example":
            statements = re.split(r"^>>> ", text.strip(), flags=re.M)[1:]
            code = [re.sub(r"^\.\.\. ", "", statement, flags=re.M).strip() for statement in statements]
            yield "```python\n" + "\n\n\n".join(code) + "\n```\n"
        else:
            yield f"**{title}**\n\n{_listed(text)}\n"


def _listed(text: str) -> str:
    """Items of a section, ``name:`` and below it what it is, as a list; other text as it is."""
    parts = _ITEM.split(text.strip())
    if len(parts) == 1:
        return _inline(text.strip())
    items = zip(parts[1::2], parts[2::2], strict=True)
    return "\n".join(f"- `{name}`: {_inline(' '.join(about.split()))}" for name, about in items)


def _inline(text: str) -> str:
    return text.replace("``", "`")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or compare it (``--check``); gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m symphony.hook_reference")
    parser.add_argument("file", type=Path)
    parser.add_argument("--check", action="store_true", help="only say whether the file is up to date")
    options = parser.parse_args(arguments)
    if options.check:
        return 0 if options.file.is_file() and options.file.read_text("utf-8") == page() else 1
    options.file.write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
