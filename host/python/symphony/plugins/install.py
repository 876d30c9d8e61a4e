"""Install and uninstall plugins: look first, then install, then probe, and leave nothing that crashes."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from symphony.errors import Incompatible, InvalidInput, NotFound, Refused, SymphonyError
from symphony.home import absolute
from symphony.plugins import cache, catalog, discovery, lookup, quarantine, wheel, wish
from symphony.plugins.catalog import PluginState
from symphony.plugins.installer import IndexOptions, Installer
from symphony.plugins.names import canonical

if TYPE_CHECKING:
    from symphony.home import Home
    from symphony.plugins.wheel import WheelFacts

Note = Callable[[str], None]
SDIST = (".tar.gz", ".zip", ".tgz")


@dataclass(frozen=True)
class _Inspected:
    """A spec that passed: what to hand to the installer, and what to write into ``plugins.toml``."""

    facts: WheelFacts
    install: str
    requirement: str
    is_file: bool


def install(
    home: Home,
    specs: Sequence[str],
    options: IndexOptions,
    *,
    allow_build: bool = False,
    note: Note = lambda text: None,
) -> list[PluginState]:
    """Install plugins and return their states.

    All are looked at before the first is installed. One that is no plugin, does not fit, or fails its probe
    is not there afterwards.

    Raises
    ------
    Refused
        It is no Symphony plugin, or a source distribution without ``allow_build``.
    Incompatible
        It needs another plugin API, host or Python.
    PluginBroken
        It failed its probe and was removed again.
    Conflict
        It gives what another plugin gives, and was removed again.
    IndexUnreachable, NotFound
        The index did not answer, or knows no such name.
    """
    home.ensure()
    wish.read(home)
    installer = Installer(options)
    with tempfile.TemporaryDirectory(prefix="symphony-install-") as scratch:
        inspected = []
        for number, spec in enumerate(specs):
            note(f"looking at {spec}")
            folder = Path(scratch) / str(number)
            folder.mkdir()
            inspected.append(_inspect(installer, spec, folder, allow_build=allow_build))
        return [_install_one(home, installer, item, allow_build=allow_build, note=note) for item in inspected]


def _inspect(installer: Installer, spec: str, folder: Path, *, allow_build: bool) -> _Inspected:
    path = absolute(spec)
    looks_like_path = os.sep in spec or spec.startswith((".", "~")) or spec.endswith((".whl", *SDIST))
    if looks_like_path and not path.exists():
        raise NotFound(f"there is no file or folder {path}")
    if path.is_file() and path.suffix == ".whl":
        found = _Inspected(wheel.of_wheel(path), str(path), "", True)
    elif path.is_dir() and (looks_like_path or (path / "pyproject.toml").is_file()):
        if not ((path / "pyproject.toml").is_file() or (path / "setup.py").is_file()):
            raise InvalidInput(f"{path} has no pyproject.toml", hint="name the folder of a Python project")
        built = installer.build(str(path), folder)
        found = _Inspected(wheel.of_wheel(built), str(built), "", True)
    elif path.is_file():
        if not allow_build:
            raise Refused(f"{path} has to be built, which runs its code", hint="--allow-build permits it")
        built = installer.build(str(path), folder)
        found = _Inspected(wheel.of_wheel(built), str(built), "", True)
    else:
        return _checked(spec, _inspect_name(installer, spec, folder, allow_build=allow_build))
    requirement = f"{found.facts.name} @ {path.as_uri()}"
    return _checked(spec, _Inspected(found.facts, found.install, requirement, True))


def _inspect_name(installer: Installer, spec: str, folder: Path, *, allow_build: bool) -> _Inspected:
    named = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", spec)
    if not named:
        raise InvalidInput(
            f"{spec!r} is neither a name nor a file", hint="SPEC is NAME, NAME==VERSION, a wheel or a folder"
        )
    if allow_build:
        facts = wheel.of_wheel(installer.build(spec, folder))
    else:
        installer.unpack(spec, folder)
        facts = wheel.of_unpacked(folder, named[1])
    return _Inspected(facts, f"{facts.name}=={facts.version}", spec.strip(), False)


def _checked(spec: str, item: _Inspected) -> _Inspected:
    if not item.facts.modules:
        raise Refused(
            f"{spec} is no Symphony plugin: {item.facts.name} {item.facts.version} has no entry point in the "
            "group 'symphony'",
            hint="nothing of it was run or installed",
        )
    if item.facts.problem:
        raise Incompatible(
            f"{item.facts.name} {item.facts.version} {item.facts.problem.message}",
            hint=item.facts.problem.hint or "nothing of it was run or installed",
        )
    return item


def _install_one(
    home: Home, installer: Installer, item: _Inspected, *, allow_build: bool, note: Note
) -> PluginState:
    name, version = item.facts.name, item.facts.version
    before = discovery.installed().get(name)
    note(f"installing {name} {version}")
    same = before is not None and before.version == version
    installer.install(item.install, allow_build=allow_build, fresh=item.is_file and same)
    cache.forget(home, name)
    wish.change(home, name, requirement=item.requirement, enabled=True)
    state = lookup.plugin(name, catalog.survey(home, retry=[name], note=note))
    if not state.needs_attention:
        return state
    installer.uninstall(name)
    wish.remove(home, name)
    raise _removed(home, state, before.version if before and not same else None)


def _removed(home: Home, state: PluginState, earlier: str | None) -> SymphonyError:
    error = lookup.error_of(state)
    report = _keep_report(home, state)
    hints = [error.hint] if error.hint else []
    if earlier:
        hints.append(f"get the earlier version back with: symphony plugins install {state.name}=={earlier}")
    if report:
        hints.append(f"what it printed is in {report}")
    return type(error)(f"{error}; it was removed again", hint="; ".join(hints))


def _keep_report(home: Home, state: PluginState) -> Path | None:
    output = state.result.output if state.result else ""
    if not output.strip():
        return None
    path = home.reports / f"plugin-{state.name}-{state.version}.txt"
    try:
        home.reports.mkdir(mode=0o700, exist_ok=True)
        path.write_text(output, encoding="utf-8")
        path.chmod(0o600)
    except OSError:
        return None
    return path


def uninstall(home: Home, names: Sequence[str], note: Note = lambda text: None) -> list[str]:
    """Remove distributions and their wishes; returns the names.

    Works on a broken plugin as well, since it imports none. Raises ``NotFound`` before anything is removed.
    """
    home.check()
    wishes, found = wish.read(home), discovery.installed()
    known = [
        PluginState(name, found[name].version if name in found else "", "active", True, found.get(name))
        for name in sorted(wishes.keys() | found.keys())
    ]
    states = [lookup.plugin(name, known) for name in names]
    installer = Installer(IndexOptions())
    for state in states:
        if state.candidate:
            note(f"removing {state.name} {state.version}")
            installer.uninstall(state.name)
        if state.name in wishes:
            wish.remove(home, state.name)
        cache.forget(home, state.name)
    return [state.name for state in states]


def set_enabled(home: Home, name: str, *, enabled: bool, note: Note = lambda text: None) -> PluginState:
    """Enable one plugin, out of quarantine too, or disable it; gives its state. Raises ``NotFound``."""
    home.check()
    wishes, found, banned = wish.read(home), discovery.installed(), quarantine.problems(home)
    names = sorted(wishes.keys() | found.keys() | banned.keys())
    known = [PluginState(each, "", "active", True) for each in names]
    chosen = canonical(lookup.plugin(name, known).name)
    if enabled and quarantine.lift(home, chosen) and chosen not in found:  # a file: nobody wishes for it
        return PluginState(chosen, "", "active", True)
    wish.change(home, chosen, enabled=enabled)
    return lookup.plugin(chosen, catalog.survey(home, retry=[chosen] if enabled else [], note=note))
