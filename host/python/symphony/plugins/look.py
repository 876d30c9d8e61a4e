"""A look at what is to be installed, before any of its code runs: is it a plugin, does it fit, is it allowed?

Only wheels are read. What has to be built is built only where that was permitted.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from symphony.errors import Incompatible, InvalidInput, NotFound, Refused
from symphony.home import absolute
from symphony.plugins import wheel
from symphony.plugins.credentials import without_credentials

if TYPE_CHECKING:
    from pathlib import Path

    from symphony.plugins.installer import IndexOptions, Installer
    from symphony.plugins.policy import Policy
    from symphony.plugins.wheel import WheelFacts

SDIST: Final = (".tar.gz", ".zip", ".tgz")
DIRECT: Final = re.compile(r"\s*[A-Za-z0-9][A-Za-z0-9._\[\],\s-]*@\s*(\S+)")


@dataclass(frozen=True)
class Looked:
    """A spec that passed: what to hand to the installer, and what to write into ``plugins.toml``.

    ``direct``: it names a file or an address, whose content may change without its version.
    """

    facts: WheelFacts
    install: str
    requirement: str
    direct: bool


def look(
    installer: Installer, policy: Policy, spec: str, folder: Path, *, allow_build: bool = False
) -> Looked:
    """Look at one spec, with ``folder`` to put things into.

    Raises
    ------
    Refused
        It is no Symphony plugin, a source distribution without ``allow_build``, or the policy forbids it.
    Incompatible
        It needs another plugin API, host or Python.
    NotFound, InvalidInput
        There is no such file, or it is neither a name nor a file.
    IndexUnreachable
        The index did not answer.
    """
    path = absolute(spec)
    looks_like_path = os.sep in spec.partition("@")[0] or spec.startswith((".", "~"))
    looks_like_path = looks_like_path or (spec.endswith((".whl", *SDIST)) and not DIRECT.match(spec))
    if looks_like_path and not path.exists():
        raise NotFound(f"there is no file or folder {path}")
    if path.is_file() or (path.is_dir() and (looks_like_path or (path / "pyproject.toml").is_file())):
        policy.check_file(spec)
        found = _look_at_file(installer, policy, path, folder, allow_build=allow_build)
    else:
        found = _look_at_name(installer, policy, spec, folder, allow_build=allow_build)
    policy.check(found.facts.name)
    return _fitting(without_credentials(spec), found)


def _look_at_file(
    installer: Installer, policy: Policy, path: Path, folder: Path, *, allow_build: bool
) -> Looked:
    if path.is_file() and path.suffix == ".whl":
        built = path
    else:
        policy.check_build(str(path))
        if path.is_dir() and not ((path / "pyproject.toml").is_file() or (path / "setup.py").is_file()):
            raise InvalidInput(f"{path} has no pyproject.toml", hint="name the folder of a Python project")
        if path.is_file() and not allow_build:
            raise Refused(f"{path} has to be built, which runs its code", hint="--allow-build permits it")
        built = installer.build(str(path), folder)
    facts = wheel.of_wheel(built)
    return Looked(facts, str(built), f"{facts.name} @ {path.as_uri()}", True)


def _look_at_name(
    installer: Installer, policy: Policy, spec: str, folder: Path, *, allow_build: bool
) -> Looked:
    named = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", spec)
    if not named:
        raise InvalidInput(
            f"{spec!r} is neither a name nor a file", hint="SPEC is NAME, NAME==VERSION, a wheel or a folder"
        )
    policy.check(named[1])
    direct = DIRECT.match(spec)
    if direct and direct[1].startswith("file:"):
        policy.check_file(without_credentials(spec))
    elif direct:
        policy.indexes([direct[1]])
    if allow_build:
        policy.check_build(spec)
        facts = wheel.of_wheel(installer.build(spec, folder))
    else:
        installer.unpack(spec, folder)
        facts = wheel.of_unpacked(folder, named[1])
    install = spec.strip() if direct else f"{facts.name}=={facts.version}"
    return Looked(facts, install, without_credentials(spec.strip()), bool(direct))


def _fitting(spec: str, item: Looked) -> Looked:
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


def bound(policy: Policy, options: IndexOptions) -> tuple[str, ...] | None:
    """The indexes that the policy leaves. Raises ``Refused`` where the options name another one."""
    return policy.indexes(options.places)
