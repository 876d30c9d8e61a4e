"""Who answers to which name: the one place where the names of contributions are resolved.

A contribution's full name ``plugin.name`` always means it. A short name means the core's thing, else the one
that the user prefers, else that of the first plugin in order. It reads no file and imports no plugin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from symphony.plugins.names import canonical, prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

CORE: Final = "symphony"
"""The plugin name of what Symphony itself gives: the executor ``thread`` is ``symphony.thread`` in full."""
LOCAL: Final = "local"
"""The plugin name of a working folder's ``symphony_plugins.py``."""
RESERVED: Final = frozenset({CORE, "host", LOCAL, "pit"})
"""What no distribution can have before the dot of its full names."""
KINDS: Final = ("workflow", "model", "component", "type", "executor", "command")
PREFERABLE: Final = (*KINDS, "plugin")
"""Kinds that ``kind:name`` can begin with; ``plugin:geo`` is who gives the names ``geo.*``."""
CONDUCTOR: Final = "conductor"
UNORDERED: Final = 1 << 30
NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, order=True)
class Rank:
    """The place of a plugin among the others: ``order`` of ``plugins.toml``, time of installation, name."""

    order: int = UNORDERED
    installed: float = math.inf
    name: str = ""

    def why_before(self, other: Rank) -> str:
        """Why this one comes first, for the end of a sentence."""
        if self.order != other.order:
            return "which comes first by order in plugins.toml"
        if self.installed != other.installed:
            return "which was installed first"
        return "which comes first by name"


@dataclass(frozen=True)
class Offer:
    """One contribution by the name that its plugin gave it."""

    kind: str
    plugin: str
    name: str
    id: str

    @property
    def full(self) -> str:
        return f"{prefix(self.plugin)}.{self.name}"

    @classmethod
    def of(cls, plugin: str, item: Mapping[str, Any]) -> Offer:
        """From the form that the store keeps; a component's id is its own, and says nothing of the plugin."""
        name = item["name"] if item["kind"] == "component" else item["id"].partition(":")[2]
        return cls(item["kind"], plugin, name, item["id"])


def _core_components() -> Collection[str]:
    from symphony.core_components import core_components

    return [path.stem for path in core_components()]


def _core_commands() -> Collection[str]:
    from symphony.cli.app import COMMANDS  # which brings click, for those who have click in use only

    return COMMANDS


_CORE_NAMES: Final[Mapping[str, Callable[[], Collection[str]]]] = {
    "component": _core_components,
    "executor": lambda: ("async", "process", "thread"),
    "command": _core_commands,
}


def core_names(kind: str) -> Collection[str]:
    """The short names of a kind that are Symphony's own.

    Example
    -------
    >>> core_names("executor")
    ('async', 'process', 'thread')
    """
    return _CORE_NAMES.get(kind, tuple)()


def prefix_holder(plugins: Iterable[str], wanted: str, prefer: Mapping[str, str] = NONE) -> str | None:
    """The plugin, of some in their order, that gives the full names ``wanted.*``; ``CORE`` for reserved ones.

    ``geo`` and ``symphony-geo`` both could: the preferred one does, else the first.
    """
    if wanted in RESERVED:
        return CORE
    rivals = [name for name in plugins if canonical(prefix(name)) == wanted]
    chosen = _preferred(prefer, "plugin", wanted)
    return next((name for name in rivals if canonical(name) == chosen), rivals[0] if rivals else None)


def _preferred(prefer: Mapping[str, str], kind: str, name: str) -> str | None:
    chosen = prefer.get(f"{kind}:{name}")
    return chosen if chosen is not None or name == CONDUCTOR else prefer.get(name)


class Namespace:
    """The names of some plugins' contributions.

    Parameters
    ----------
    offers:
        In the order of the plugins.
    prefer:
        The table ``[prefer]`` of ``plugins.toml``.

    Example
    -------
    >>> names = Namespace([Offer("workflow", "symphony-geo", "map", "symphony-geo:map")])
    >>> names.find("workflow", "map").full
    'geo.map'
    """

    def __init__(self, offers: Iterable[Offer], prefer: Mapping[str, str] = NONE) -> None:
        self._prefer = prefer
        self._full: dict[tuple[str, str], Offer] = {}
        self._ids: dict[tuple[str, str], Offer] = {}
        self._short: dict[tuple[str, str], list[Offer]] = {}
        for offer in offers:
            self._full[offer.kind, offer.full] = self._ids[offer.kind, offer.id] = offer
            self._short.setdefault((offer.kind, offer.name), []).append(offer)

    def find(self, kind: str, name: str, *, plugin: str = "", hidden: Collection[str] = ()) -> Offer | None:
        """What a full name, an id or a short name means.

        Parameters
        ----------
        plugin:
            Whose code uses the name: what is its own comes before what others give, unless the user
            prefers theirs.
        hidden:
            Plugins that count as not there.
        """
        found = self._by_full(kind, name)
        if found is not None and found.plugin not in hidden:
            return found
        if name in core_names(kind):
            return Offer(kind, CORE, name, f"{CORE}.{name}")
        rivals = [offer for offer in self._short.get((kind, name), ()) if offer.plugin not in hidden]
        chosen = self._chosen(kind, name, rivals)
        own = next((offer for offer in rivals if offer.plugin == plugin), None)
        return chosen or own or (rivals[0] if rivals else None)

    def _by_full(self, kind: str, name: str) -> Offer | None:
        exact = self._full.get((kind, name))
        if exact is not None:
            return exact
        given, colon, local = name.partition(":")
        if colon:
            return self._of_plugin(kind, given, local)
        parts = name.split(".")
        for at in range(1, len(parts)):
            given, local = ".".join(parts[:at]), ".".join(parts[at:])
            if given == CORE and local in core_names(kind):
                return Offer(kind, CORE, local, name)
            found = self._of_plugin(kind, given, local)
            if found is not None:
                return found
        return self._ids.get((kind, name))

    def _of_plugin(self, kind: str, given: str, local: str) -> Offer | None:
        wanted = canonical(given)
        rivals = self._short.get((kind, local), ())
        return next(
            (
                offer
                for offer in rivals
                if wanted in (canonical(offer.plugin), canonical(prefix(offer.plugin)))
            ),
            None,
        )

    def _chosen(self, kind: str, name: str, rivals: Iterable[Offer]) -> Offer | None:
        chosen = _preferred(self._prefer, kind, name)
        return next((offer for offer in rivals if canonical(offer.plugin) == chosen), None)

    def shortest(self, offer: Offer) -> str:
        """The short name where it means this contribution, else the full one."""
        found = self.find(offer.kind, offer.name)
        return offer.name if found is not None and found.full == offer.full else offer.full

    def rivals(self, kind: str, name: str) -> list[Offer]:
        """All that would answer to a short name, the one that does first."""
        given = self._short.get((kind, name), [])
        first = self.find(kind, name)
        return [first, *(offer for offer in given if offer != first)] if first else []

    def contested(self) -> list[tuple[str, str]]:
        """Kind and short name of what more than one gives, in alphabetical order."""
        return sorted(key for key in self._short if len(self.rivals(*key)) > 1)

    def preferred(self, kind: str, name: str) -> bool:
        """Whether the table ``[prefer]`` decides what a short name means."""
        return self._chosen(kind, name, self._short.get((kind, name), ())) is not None

    def of_kind(self, kind: str) -> list[Offer]:
        """Everything of one kind, in the order of the plugins."""
        return [offer for (known, _), offer in self._full.items() if known == kind]
