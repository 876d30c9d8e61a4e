"""What names mean where several plugins could be meant, and the user's choice. Imports no plugin."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from symphony.errors import Conflict, NotFound
from symphony.plugins import catalog, conflicts, local, lookup, wish
from symphony.plugins.names import canonical, did_you_mean, prefix
from symphony.plugins.namespace import CONDUCTOR, KINDS, RESERVED, Offer, core_names, prefix_holder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from symphony.home import Home
    from symphony.plugins.catalog import PluginState

    Note = Callable[[str], None]


@dataclass(frozen=True)
class Choice:
    """One name: the plugin that it means (``symphony``: the core's), and the others that give it as well."""

    kind: str
    name: str
    plugin: str
    others: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "others": list(self.others)}


def known(home: Home, note: Note) -> list[PluginState]:
    """Whom there is to choose from: the installed plugins and the working folder's file."""
    return local.with_local(home, catalog.survey(home, note=note), note)


def contested(states: Sequence[PluginState], prefer: Mapping[str, str]) -> list[Choice]:
    """Every name that more than one gives, by kind and name."""
    names = conflicts.namespace(states, prefer)
    keys = [*names.contested(), (CONDUCTOR, CONDUCTOR)]
    keys += [("plugin", short) for short in {prefix(state.name) for state in states}]
    found = [choice(kind, name, states, prefer) for kind, name in keys]
    return sorted((one for one in found if one and one.others), key=lambda one: (one.kind, one.name))


def idle(states: Sequence[PluginState], prefer: Mapping[str, str]) -> dict[str, str]:
    """Those of the choices that choose nothing: the plugin is gone, or gives no such name any more."""
    given = {
        (canonical(state.name), word)
        for state in states
        for kind, name in _given(state)
        for word in (f"{kind}:{name}", name)
    }
    return {what: plugin for what, plugin in prefer.items() if (plugin, what) not in given}


def choice(kind: str, name: str, states: Sequence[PluginState], prefer: Mapping[str, str]) -> Choice | None:
    """What one name means; None where nobody gives it."""
    if kind in KINDS:
        givers = [offer.plugin for offer in conflicts.namespace(states, prefer).rivals(kind, name)]
    elif kind == "plugin":
        installed = [state for state in states if state.candidate and not state.candidate.file]
        holding = [state.name for state in installed if state.enabled]
        first = prefix_holder(holding, name, prefer)
        rivals = [one for one in holding if canonical(prefix(one)) == name]
        givers = [first, *(one for one in rivals if one != first)] if first and rivals else []
    else:
        givers = [state.name for state in states if state.status == "active" and _conducts(state)]
        chosen = prefer.get(CONDUCTOR)
        givers.sort(key=lambda plugin: canonical(plugin) != chosen)
    return Choice(kind, name, givers[0], tuple(givers[1:])) if givers else None


def choose(home: Home, what: str, plugin: str, note: Note = lambda text: None) -> list[Choice]:
    """Let a short name, ``kind:name`` or ``conductor`` mean what a plugin gives; answers what it means now.

    Raises
    ------
    NotFound
        There is no such plugin, or it gives nothing of that name; the hint has the closest names.
    Conflict
        The name is Symphony's own.
    InvalidInput
        ``what`` is no name, or ``plugins.toml`` is wrong.
    PluginBroken
        What the plugin gives is not known, because it does not work.
    """
    wish.check_preferable(what)
    state = lookup.plugin(plugin, known(home, note))
    given = _given(state)
    kinds = [kind for kind, name in given if what in (f"{kind}:{name}", name) and _means(what, kind)]
    if not kinds:
        raise _gives_no(state, what, given)
    name = what if what in {name for _, name in given} else what.partition(":")[2]
    free = [kind for kind in kinds if name not in (RESERVED if kind == "plugin" else core_names(kind))]
    if not free:
        raise Conflict(
            f"the {kinds[0]} {name} is Symphony's own, and stays so",
            hint=f"use {prefix(state.name)}.{name}",
        )
    wish.prefer(home, what, state.name, instead_of=[f"{kind}:{name}" for kind in kinds])
    if not state.enabled:
        note(f"{state.name} is disabled: symphony plugins enable {state.name}")
    return _meanings(home, [(kind, name) for kind in free])


def forget(home: Home, what: str) -> list[Choice]:
    """Take a choice back; answers what the name means now. Raises ``NotFound``: there was none."""
    stored = wish.preferences(home)
    if what not in stored:
        hint = did_you_mean(what, stored, "symphony plugins prefer shows those that there are")
        raise NotFound(f"plugins.toml prefers no plugin for {what!r}", hint=hint)
    wish.prefer(home, what, None)
    kind, colon, name = what.partition(":")
    if colon and what != CONDUCTOR:
        return _meanings(home, [(kind, name)])
    return _meanings(home, [(kind, what) for kind in (*KINDS, "plugin", CONDUCTOR) if _means(what, kind)])


def _meanings(home: Home, keys: Sequence[tuple[str, str]]) -> list[Choice]:
    # Whoever chose has been told of the working folder's file.
    states, prefer = known(home, lambda text: None), wish.preferences(home)
    found = [choice(kind, name, states, prefer) for kind, name in keys]
    return [one for one in found if one is not None]


def _means(what: str, kind: str) -> bool:
    """Whether a key of ``[prefer]`` can be about a kind: ``conductor`` is the hook, never a workflow."""
    return (kind == CONDUCTOR) == (what == CONDUCTOR)


def _given(state: PluginState) -> list[tuple[str, str]]:
    """Kind and short name of everything that a plugin gives, whatever its status."""
    offers = [Offer.of(state.name, item) for item in state.contributions if item["kind"] in KINDS]
    conducts = [(CONDUCTOR, CONDUCTOR)] if _conducts(state) else []
    return [
        *((offer.kind, offer.name) for offer in offers),
        *conducts,
        ("plugin", canonical(prefix(state.name))),
    ]


def _conducts(state: PluginState) -> bool:
    return any(item["kind"] == CONDUCTOR for item in state.contributions)


def _gives_no(state: PluginState, what: str, given: Sequence[tuple[str, str]]) -> Exception:
    if state.problem and state.needs_attention:
        return lookup.error_of(state)
    kind, colon, name = what.partition(":") if ":" in what else ("name", "", what)
    known = [f"{each}:{short}" if colon else short for each, short in given]
    hint = did_you_mean(what.rpartition(".")[2], known, f"symphony plugins info {state.name}")
    if what == CONDUCTOR:
        return NotFound(f"{state.name} gives no conductor", hint=f"symphony plugins info {state.name}")
    return NotFound(f"{state.name} gives no {kind} {name!r}", hint=hint)
