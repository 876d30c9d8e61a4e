"""``symphony run`` and ``symphony plugins list`` without click, whose import takes longer than they do.

Understands the usual command lines; whatever else it sees is left to click, which knows them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from symphony.cli.state import State

_FLAGS: Final = ("--json", "--detach")
_VALUED: Final = ("--home", "--plugin", "--input")


class _Line(NamedTuple):
    words: list[str]
    given: dict[str, list[str]]

    def only(self, *options: str) -> bool:
        return self.given.keys() <= {"--json", "--home", *options}

    def first(self, option: str) -> str | None:
        return next(iter(self.given.get(option, ())), None)


def quick(arguments: Sequence[str]) -> int | None:
    """Run the command line and return its exit code; None, and nothing is done, where click is needed."""
    line = _read(arguments)
    if line is None:
        return None
    if line.words[:1] == ["run"] and len(line.words) > 1:
        return _run(line)
    if line.words == ["plugins", "list"] and line.only():
        return _list_plugins(line)
    return None


def _read(arguments: Sequence[str]) -> _Line | None:
    line = _Line([], {})
    left = iter(arguments)
    for word in left:
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            line.words.append(word)
        elif word in _FLAGS:
            line.given[word] = []
        elif name in _VALUED:
            taken = value if equals else next(left, None)
            if taken is None or (name in line.given and name != "--plugin"):
                return None
            line.given.setdefault(name, []).append(taken)
        else:
            return None
    return line


def _state(line: _Line) -> State:
    from symphony.cli.state import State
    from symphony.home import absolute

    home = line.first("--home")
    return State(json="--json" in line.given, home_option=None if home is None else str(absolute(home)))


def _run(line: _Line) -> int:
    from symphony.cli.failure import ended

    state = _state(line)

    def command() -> int:
        from symphony.cli.run import start

        _, workflow, *values = line.words
        plugins = line.given.get("--plugin", ())
        start(state, workflow, values, line.first("--input"), "--detach" in line.given, plugins=plugins)
        return 0

    return ended(state, command)


def _list_plugins(line: _Line) -> int | None:
    from symphony.plugins import listing

    state = _state(line)
    found = listing.kept(state.home)
    if found is None:
        return None
    from symphony.cli.failure import ended
    from symphony.cli.output import show_listing

    def command() -> int:
        state.home.check()
        show_listing(found, json=state.json)
        return 0

    return ended(state, command)
