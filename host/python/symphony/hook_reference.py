"""The hooks as their specifications describe them: what ``symphony plugins hooks`` and docs/hooks.md show.

    python -m symphony.hook_reference [--check] FILE

writes the page. It imports no plugin.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import textwrap
from dataclasses import dataclass, replace
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
    prose, sections = _parts(hook)
    yield _inline(prose) + "\n"
    for title, text in sections:
        if title == "Example":
            yield f"```python\n{_code(text)}\n```\n"
        else:
            yield f"**{title}**\n\n{_listed(text)}\n"


def _parts(hook: Hook) -> tuple[str, list[tuple[str, str]]]:
    """The text of a docstring in front of its sections, and these."""
    prose, *rest = _SECTION.split(hook.doc)
    sections = zip(rest[::2], rest[1::2], strict=True)
    return prose.strip(), [(title, text.strip()) for title, text in sections]


def _code(text: str) -> str:
    statements = re.split(r"^>>> ", text, flags=re.M)[1:]
    return "\n\n\n".join(re.sub(r"^\.\.\.( |$)", "", one, flags=re.M).strip() for one in statements)


def _items(text: str) -> list[tuple[str, str]]:
    """Items of a section, ``name:`` and below it what it is; other text has no name."""
    first, *rest = _ITEM.split(text)
    pairs = [("", first)] if first.strip() else []
    pairs += zip(rest[::2], rest[1::2], strict=True)
    return [(name, " ".join(about.split())) for name, about in pairs]


def _listed(text: str) -> str:
    return "\n".join(
        f"- `{name}`: {_inline(about)}" if name else _inline(about) for name, about in _items(text)
    )


def terminal_text(hook: Hook, width: int) -> str:
    """The reference of one hook in lines of at most ``width`` characters, its code as it is."""
    prose, sections = _parts(replace(hook, doc=hook.doc.replace("``", "")))
    told = [f"Deprecated: {hook.deprecated}"] if hook.deprecated else []
    lines = [textwrap.fill(part, width) for part in [*told, *re.split(r"\n\n+", prose)]]
    for title, text in sections:
        if title == "Example":
            lines.append(f"{title}:\n\n{textwrap.indent(_code(text), '    ')}")
            continue
        for name, about in _items(text):
            lines.append(textwrap.fill(f"{name}: {about}" if name else f"{title}: {about}", width))
    return "\n\n".join([hook.signature, *lines])


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
