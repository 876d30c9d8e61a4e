"""``symphony run`` without click, whose import takes longer than a short run on a host that is there already.

Understands the usual command lines; whatever else it sees is left to click, which knows them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_FLAGS: Final = ("--json", "--detach")
_VALUED: Final = ("--home", "--plugin", "--input", "--executor")


def quick_run(arguments: Sequence[str]) -> int | None:
    """Run the command line and return its exit code; None, and nothing is done, where click is needed."""
    words: list[str] = []
    given: dict[str, list[str]] = {}
    left = iter(arguments)
    for word in left:
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            words.append(word)
        elif word in _FLAGS:
            given[word] = []
        elif name in _VALUED:
            taken = value if equals else next(left, None)
            if taken is None:
                return None
            given.setdefault(name, []).append(taken)
        else:
            return None
    repeated = any(len(values) > 1 for name, values in given.items() if name != "--plugin")
    if words[:1] != ["run"] or len(words) < 2 or repeated:
        return None

    from symphony.cli.failure import ended
    from symphony.cli.state import State
    from symphony.home import absolute

    home = next((str(absolute(folder)) for folder in given.get("--home", ())), None)
    state = State(json="--json" in given, home_option=home)

    def command() -> int:
        from symphony.cli.run import start

        source, executor = (next(iter(given.get(name, ())), None) for name in ("--input", "--executor"))
        start(
            state,
            words[1],
            words[2:],
            source,
            "--detach" in given,
            plugins=given.get("--plugin", ()),
            executor=executor,
        )
        return 0

    return ended(state, command)
