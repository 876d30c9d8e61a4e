"""``SYMPHONY_PLUGINS`` and ``--no-plugins``: which installed plugins this invocation knows of at all.

Acts before discovery: what is left out is not looked at, not listed and not wished for. The variable reaches
the host and its interpreter, which inherit the environment. Plugin files are named each time, and are always
taken.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from symphony.errors import InvalidInput
from symphony.plugins import SELECTION
from symphony.plugins.names import FILE_STEM, canonical, prefix

SETTING: Final = "select"


@dataclass(frozen=True)
class Selection:
    """Which plugins are taken: those in ``only`` (None: all), less those in ``without``."""

    only: frozenset[str] | None = None
    without: frozenset[str] = frozenset()

    def takes(self, plugin: str) -> bool:
        """Whether a plugin of this canonical name is taken; it may be named without its ``symphony-``."""
        spellings = {plugin, prefix(plugin)}
        return (self.only is None or bool(spellings & self.only)) and not spellings & self.without

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self.only is None and not self.without

    def text(self) -> str:
        """The value of the variable that gives this selection."""
        return ",".join([*sorted(self.only or ()), *(f"-{name}" for name in sorted(self.without))])

    def unknown(self, plugins: list[str]) -> list[str]:
        """The names given that none of these plugins has."""
        spellings = {spelling for plugin in plugins for spelling in (plugin, prefix(plugin))}
        return sorted(((self.only or frozenset()) | self.without) - spellings)


def read(text: str | None) -> Selection:
    """The selection that a value of the variable means; None is an unset variable.

    Raises ``InvalidInput`` for what cannot be a plugin's name.

    Example
    -------
    >>> read("conductor,ocr").takes("symphony-ocr"), read("-ocr").takes("symphony-ocr"), read("").takes("x")
    (True, False, False)
    """
    if text is None:
        return Selection()
    only: set[str] = set()
    without: set[str] = set()
    for word in filter(None, (word.strip() for word in text.split(","))):
        name = word.removeprefix("-")
        if not FILE_STEM.match(name.replace(".", "-")):
            raise InvalidInput(
                f"{SELECTION}: {word!r} is no plugin's name",
                hint=f"{SELECTION}=a,b takes these alone, {SELECTION}=-a,-b all but these, an empty one none",
            )
        (without if word.startswith("-") else only).add(canonical(name))
    return Selection(None if without and not only else frozenset(only), frozenset(without))


def current() -> Selection:
    """The selection of this process."""
    return read(os.environ.get(SELECTION))


def leave_out(names: str) -> None:
    """Leave out the comma-separated names, or with none every plugin, here and in whatever is started."""
    before = os.environ.get(SELECTION)
    if not names:
        os.environ[SELECTION] = ""
    elif before != "":
        left = [f"-{name.strip()}" for name in names.split(",") if name.strip()]
        os.environ[SELECTION] = ",".join([*filter(None, [before]), *left])
    current()


def words() -> list[str]:
    """The setting that a host of this selection is started with."""
    chosen = current()
    return [] if chosen.everything else [f"{SETTING}={chosen.text()}"]
