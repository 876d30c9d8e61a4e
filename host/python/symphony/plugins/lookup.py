"""From a name to a workflow or plugin of the catalog, or to the error that says what to type next.

Reads what was probed; it imports no plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from symphony.errors import (
    Conflict,
    Incompatible,
    InvalidInput,
    NotFound,
    PluginBroken,
    Quarantined,
    Refused,
    SymphonyError,
)
from symphony.plugins import SELECTION, conflicts, selection
from symphony.plugins.names import canonical, did_you_mean, prefix
from symphony.plugins.namespace import NONE, core_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from symphony.plugins.catalog import PluginState
    from symphony.plugins.namespace import Namespace, Offer
    from symphony.plugins.problem import Problem


def workflow(name: str, states: Sequence[PluginState], prefer: Mapping[str, str] = NONE) -> Offer:
    """The workflow meant by a full name, an id or a short name.

    Raises ``NotFound`` with the closest names, or the error of the plugin that should give it.
    """
    names = conflicts.namespace(states, prefer)
    found = names.find("workflow", name)
    if found is not None:
        return found
    disabled = next(
        (s for s in states if s.status == "disabled" and _asked(name) in (s.name, prefix(s.name))), None
    )
    if disabled and disabled.problem:
        raise error_of(disabled)
    if disabled:
        hint = f"symphony plugins enable {disabled.name}"
        raise Refused(f"plugin {disabled.name} of workflow {name!r} is disabled", hint=hint)
    raise unknown_workflow(
        name,
        [offer.full for offer in names.of_kind("workflow")],
        {s.name: s.problem for s in states if s.problem and s.needs_attention},
    )


def check_executor(name: str, states: Sequence[PluginState], prefer: Mapping[str, str] = NONE) -> None:
    """Raise ``NotFound`` with the closest names for an executor that nothing gives, ``Refused`` for one of a
    plugin that is disabled.
    """
    names = conflicts.namespace(states, prefer)
    if names.find("executor", name) is not None:
        return
    for state in states:
        given = [item["name"] for item in state.contributions if item["kind"] == "executor"]
        if state.status == "disabled" and any(name in (full, full.partition(".")[2]) for full in given):
            hint = f"symphony plugins enable {state.name}"
            raise Refused(f"plugin {state.name} of executor {name!r} is disabled", hint=hint)
    raise unknown_executor(f"there is no executor {name!r}", name, names)


def unknown_executor(message: str, name: str, names: Namespace) -> NotFound:
    """The error for an executor that nothing gives, with the closest names."""
    offers = names.of_kind("executor")
    known = [*core_names("executor"), *(each for offer in offers for each in (offer.full, offer.name))]
    return NotFound(message, hint=did_you_mean(name, known, f"known: {', '.join(sorted(set(known)))}"))


def plugin(name: str, states: Sequence[PluginState]) -> PluginState:
    """The plugin of this name in any spelling, also without its ``symphony-``. Raises ``NotFound``."""
    wanted = canonical(name)
    for state in states:
        if state.name == wanted:
            return state
    short = [state for state in states if prefix(state.name) == wanted]
    if len(short) == 1:
        return short[0]
    known = [state.name for state in states]
    raise NotFound(f"there is no plugin {name!r}", hint=did_you_mean(wanted, known, "symphony plugins list"))


def _asked(name: str) -> str:
    return canonical(name.partition(":")[0] if ":" in name else name.rpartition(".")[0])


def unknown_workflow(name: str, known: Iterable[str], problems: dict[str, Problem]) -> SymphonyError:
    """The error for a workflow name that no working plugin gives."""
    asked = _asked(name)
    for plugin, problem in problems.items():
        if asked and asked in (plugin, prefix(plugin)) and problem.status != "active":
            return error_for(
                f"plugin {plugin} of workflow {name!r}", problem, f"symphony plugins info {plugin}"
            )
    hint = did_you_mean(name, known, "symphony workflows list")
    chosen = selection.current()
    if not chosen.everything:
        hint = f"{hint} (only plugins that {SELECTION}={chosen.text()} takes are there)"
    return NotFound(f"there is no workflow {name!r}", hint=hint)


def error_of(state: PluginState) -> SymphonyError:
    """The error for a plugin that cannot be used."""
    assert state.problem is not None
    file = state.candidate.file if state.candidate else None
    return error_for(f"plugin file {file}" if file else f"plugin {state.name}", state.problem)


def error_for(what: str, problem: Problem, hint: str = "") -> SymphonyError:
    """``what`` cannot be used because of ``problem``: the class that carries the right exit code."""
    kinds: dict[str, type[SymphonyError]] = {
        "incompatible": Incompatible,
        "conflict": Conflict,
        "missing": NotFound,
        "quarantined": Quarantined,
        "changed": Refused,
        "disabled": Refused,
    }
    kind = InvalidInput if problem.code == "setting" else kinds.get(problem.status, PluginBroken)
    return kind(f"{what}: {problem.message}{where(problem)}", hint=problem.hint or hint)


def where(problem: Problem) -> str:
    """The place in the plugin's own code, for the end of a sentence."""
    return f" (at {problem.at})" if problem.at else ""
