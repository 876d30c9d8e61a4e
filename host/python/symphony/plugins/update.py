"""Take up newer releases of plugins, within what is wished; a release that does not work is taken back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symphony.errors import NotFound, Refused, SymphonyError
from symphony.plugins import catalog, discovery, lookup, policy, wish
from symphony.plugins.install import install_one
from symphony.plugins.installer import IndexOptions, Installer
from symphony.plugins.look import DIRECT, Looked, bound, look

if TYPE_CHECKING:
    from symphony.home import Home
    from symphony.plugins.catalog import PluginState
    from symphony.plugins.policy import Policy

Note = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What became of one plugin: updated, reinstalled, unchanged, or kept as it was because of ``error``."""

    name: str
    action: str
    before: str
    version: str
    error: SymphonyError | None = None

    def json(self) -> dict[str, Any]:
        error = self.error
        told = None if error is None else {"type": type(error).__name__, "message": str(error)}
        return {
            "name": self.name,
            "action": self.action,
            "before": self.before,
            "version": self.version,
            "problem": told,
        }


def update(
    home: Home,
    names: Sequence[str],
    options: IndexOptions,
    *,
    allow_build: bool = False,
    note: Note = lambda text: None,
) -> list[Outcome]:
    """Update the named plugins, or all that are wished for by name; sorted by name.

    A newer release is looked at before it is installed, and probed afterwards. Where either fails, the old
    one is there as before. A plugin whose files changed is installed again.

    Raises
    ------
    NotFound
        There is no such plugin.
    Refused
        The environment may not be changed, or the policy forbids an index that the options name.
    """
    states = {state.name: state for state in catalog.survey(home, probe=False, selected=discovery.ALL)}
    known = [state for state in states.values() if state.candidate and not state.candidate.file]
    chosen = [lookup.plugin(name, known) for name in names] or [
        state
        for state in known
        if state.requirement and (state.status == "changed" or not DIRECT.match(state.requirement))
    ]
    rules = policy.read(home)
    if not chosen:
        return []
    installer = Installer(options, bound(rules, options))
    outcomes = []
    for state in sorted({state.name: state for state in chosen}.values(), key=lambda state: state.name):
        note(f"looking for a newer {state.name} than {state.version}")
        with tempfile.TemporaryDirectory(prefix="symphony-update-") as folder:
            updating = _Updating(home, rules, installer, allow_build, note)
            outcomes.append(updating.one(state, Path(folder)))
    return outcomes


@dataclass(frozen=True)
class _Updating:
    home: Home
    policy: Policy
    installer: Installer
    allow_build: bool
    note: Note

    def one(self, state: PluginState, folder: Path) -> Outcome:
        before = state.version
        try:
            if state.candidate and state.candidate.record is None and state.status != "changed":
                raise Refused(
                    f"{state.name} is an editable install: its files are yours to change",
                    hint=f"to have a release in its place: symphony plugins install {state.name}",
                )
            looked = self._look(state, folder)
            version = looked.facts.version
            again = state.status == "changed" or looked.direct
            if not again and not _newer(version, before):
                return Outcome(state.name, "unchanged", before, before)
            wanted = wish.read(self.home).get(state.name)
            install_one(
                self.home, self.installer, looked, allow_build=self.allow_build, fresh=True, note=self.note
            )
            if wanted is not None and not wanted.enabled:
                wish.change(self.home, state.name, enabled=False)
        except SymphonyError as error:
            return Outcome(state.name, "kept", before, before, error)
        return Outcome(state.name, "updated" if version != before else "reinstalled", before, version)

    def _look(self, state: PluginState, folder: Path) -> Looked:
        requirement = state.requirement or state.name
        direct = DIRECT.match(requirement)
        spec = requirement
        if direct and direct[1].startswith("file:"):
            from urllib.parse import unquote, urlsplit

            spec = unquote(urlsplit(direct[1]).path)
            if not Path(spec).exists():
                raise NotFound(
                    f"{state.name}: {spec}, which it was installed from, is gone",
                    hint=f"symphony plugins install {state.name}, or a wheel of it",
                )
        return look(self.installer, self.policy, spec, folder, allow_build=self.allow_build)


def _newer(version: str, than: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(version) > Version(than)
    except InvalidVersion:
        return version != than
