"""Names that more than one plugin wants: who has them, who is told, and who cannot be used at all.

Judges what the catalog found; what a name means follows from ``namespace``. It imports no plugin.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from symphony.plugins.discovery import LOCAL_FILE
from symphony.plugins.names import canonical, prefix
from symphony.plugins.namespace import CORE, NONE, RESERVED, Namespace, Rank, core_names, prefix_holder
from symphony.plugins.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from symphony.plugins.catalog import PluginState


def with_files(
    states: Sequence[PluginState], files: Sequence[PluginState], prefer: Mapping[str, str] = NONE
) -> list[PluginState]:
    """Installed plugins and, last in order, files; one with an installed plugin's names is in conflict."""
    checked = []
    for file in files:
        problem = file_conflict(file, states)
        checked.append(replace(file, status="conflict", problem=problem) if problem else file)
    return judged([*states, *checked], prefer)


def file_conflict(file: PluginState, states: Iterable[PluginState]) -> Problem | None:
    """Why a file plugin cannot have the names ``stem.*``; the working folder's has those it has."""
    if file.candidate and file.candidate.file and file.candidate.file.name == LOCAL_FILE:
        return None
    holder = prefix_holder([s.name for s in states if _holds(s)], canonical(prefix(file.name)))
    if holder is None or file.status != "active":
        return None
    whose = "Symphony's own" if holder == CORE else f"those of the plugin {holder}"
    return Problem("conflict", f"its names {prefix(file.name)}.* are {whose}", hint="rename the file")


def _holds(state: PluginState) -> bool:
    """Whether the plugin keeps its names from others: also while it is broken, or they would change hands."""
    kept_out = state.status == "conflict" or (state.problem is not None and state.problem.code == "policy")
    return state.candidate is not None and state.enabled and not kept_out


def one_per_prefix(states: list[PluginState], prefer: Mapping[str, str]) -> list[PluginState]:
    """Mark who cannot have its full names, before any code of it runs."""
    holding = {state.name: state for state in states if _holds(state)}
    checked = []
    for state in states:
        wanted = prefix(state.name)
        holder = prefix_holder(holding, wanted, prefer)
        if state.status == "active" and (wanted in RESERVED or holder not in (None, state.name)):
            rival = None if holder is None or wanted in RESERVED else holding[holder]
            problem = _prefix_problem(state, wanted, rival, prefer)
            state = replace(state, status="conflict", problem=problem)
        checked.append(state)
    return checked


def _prefix_problem(
    state: PluginState, wanted: str, holder: PluginState | None, prefer: Mapping[str, str]
) -> Problem:
    if holder is None:
        message = f"the name {wanted!r} is Symphony's own"
        return Problem("conflict", message, hint=f"symphony plugins uninstall {state.name}")
    preferred = canonical(holder.name) in (prefer.get(f"plugin:{wanted}"), prefer.get(wanted))
    why = "which plugins.toml prefers" if preferred else holder.rank.why_before(state.rank)
    return Problem(
        "conflict",
        f"the names {wanted}.* are those of {holder.name}, {why}",
        hint=f"symphony plugins prefer plugin:{wanted} {state.name}, or disable {holder.name}",
    )


def judged(states: Sequence[PluginState], prefer: Mapping[str, str] = NONE) -> list[PluginState]:
    """Mark who gives a component that is there already; tell the others which short names are not theirs."""
    ids = {f"{CORE}.{name}": "Symphony" for name in core_names("component")} if _native(states) else {}
    alone = []
    for state in states:
        given = [offer.id for offer in state.offers if offer.kind == "component"]
        taken = next((one for one in given if one in ids), None)
        if taken:
            whose = ids[taken]
            hint = f"symphony plugins disable {state.name if whose == 'Symphony' else whose}"
            message = f"the component {taken} is given by {whose} already"
            state = replace(state, status="conflict", problem=Problem("conflict", message, hint=hint))
        else:
            ids.update(dict.fromkeys(given, state.name))
        alone.append(state)
    names = namespace(alone, prefer)
    ranks = {state.name: state.rank for state in alone}
    return [
        replace(
            state,
            order=place,
            short=frozenset((o.kind, o.name) for o in state.offers if names.shortest(o) == o.name),
            notes=tuple(_taken(state, names, ranks)),
        )
        for place, state in enumerate(alone, 1)
    ]


def _native(states: Iterable[PluginState]) -> bool:
    return any(offer.kind == "component" for state in states for offer in state.offers)


def _taken(state: PluginState, names: Namespace, ranks: Mapping[str, Rank]) -> Iterable[Problem]:
    for offer in state.offers:
        found = names.find(offer.kind, offer.name)
        if found is None or found.full == offer.full:
            continue
        what = f"the short name {offer.kind} {offer.name}"
        if found.plugin == CORE:
            yield Problem("name_taken", f"{what} is Symphony's own", hint=f"use {offer.full}")
            continue
        preferred = names.preferred(offer.kind, offer.name)
        why = "which plugins.toml prefers" if preferred else ranks[found.plugin].why_before(state.rank)
        hint = f"use {offer.full}, or: symphony plugins prefer {offer.kind}:{offer.name} {state.name}"
        yield Problem("name_taken", f"{what} is that of {found.plugin}, {why}", hint=hint)


def namespace(states: Iterable[PluginState], prefer: Mapping[str, str] = NONE) -> Namespace:
    """The names of what active plugins contribute."""
    return Namespace([offer for state in states for offer in state.offers], prefer)
