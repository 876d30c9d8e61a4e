"""``symphony plugins new``: write the project of a plugin, complete, tested and ready to be published.

The template is a project itself, ``symphony-acme`` in the folder ``template``; its names are replaced.
"""

from __future__ import annotations

import keyword
import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from symphony.errors import Conflict, InvalidInput
from symphony.home import unusable
from symphony.plugins.check import NOT_FREE
from symphony.plugins.names import canonical, prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPLATE: Final = Path(__file__).with_name("template")
LICENSES: Final = ("MIT", "Apache-2.0")
NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
SDK: Final = "../symphony/pit/sdk"


def new(
    name: str, folder: Path, *, native: bool = False, license: str = "MIT", sdk: Path | None = None
) -> list[Path]:
    """Write a project, and give its files, relative to the folder.

    Parameters
    ----------
    name:
        Of the distribution, in canonical form.
    folder:
        Where it is written; it must not exist, or be empty.
    native:
        With a component in Rust.
    license:
        ``MIT`` or ``Apache-2.0``.
    sdk:
        Where Symphony's SDK for components lies, for ``native``.

    Raises
    ------
    InvalidInput
        The name is not canonical, or cannot be that of a Python package.
    Conflict
        The name is Symphony's own, or the folder is there already.
    HostUnavailable
        The folder cannot be written.
    """
    check_name(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} is there already", hint="choose another folder: --path DIR")
    module = name.replace("-", "_")
    author = _git("user.name") or f"The authors of {name}"
    component = f"{prefix(name).replace('-', '_')}.tally"  # an id takes no '-'
    words = {"symphony-acme": name, "symphony_acme": module, "acme.tally": component, "acme": prefix(name)}
    written = []
    try:
        for path, text in _files(native=native, license=license):
            place = Path(_replaced(str(path), words))
            text = _replaced(text, words)
            if place.name == "pyproject.toml" or place.name == "Cargo.toml":
                text = text.replace('license = "MIT"', f'license = "{license}"')
            if place.name == "Cargo.toml":
                found = os.path.relpath(sdk or folder / SDK, (folder / place).parent)
                text = text.replace('path = "SDK"', f'path = "{found}"')
            if place.name == "LICENSE":
                text = re.sub(
                    r"^Copyright \(c\) .*$", f"Copyright (c) {date.today().year} {author}", text, flags=re.M
                )
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_text(text, encoding="utf-8")
            written.append(place)
    except OSError as error:
        raise unusable(folder, error) from error
    return sorted(written)


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a new plugin."""
    if canonical(name) != name or not NAME.fullmatch(name) or not NAME.fullmatch(prefix(name)):
        proposal = re.sub(r"[^a-z0-9]+", "-", canonical(name)).strip("-").lstrip("0123456789-")
        raise InvalidInput(
            f"{name!r} is not a canonical name: letters a to z first, then also digits and single '-'",
            hint=f"symphony plugins new {proposal}"
            if NAME.fullmatch(prefix(proposal))
            else "as in symphony-acme",
        )
    if prefix(name) in NOT_FREE:
        raise Conflict(f"the name {name!r} belongs to Symphony", hint="choose another name")
    module = name.replace("-", "_")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names:
        raise InvalidInput(
            f"{module!r} is a name of Python's own, so that it could not be imported",
            hint=f"symphony plugins new symphony-{name}",
        )


def checkout_sdk() -> Path | None:
    """The SDK of the sources that this Symphony runs from, if it does."""
    found = Path(__file__).resolve().parents[4] / "pit" / "sdk"
    return found if (found / "Cargo.toml").is_file() else None


def _files(*, native: bool, license: str) -> Iterator[tuple[Path, str]]:
    """Each file of the template: those of ``native`` come in place of the plain ones."""
    found: dict[Path, Path] = {Path("LICENSE"): TEMPLATE / "licenses" / license}
    for layer in ("python", "native") if native else ("python",):
        root = TEMPLATE / layer
        for file in root.rglob("*"):
            place = file.relative_to(root)
            if file.is_file() and not any(part.startswith((".", "__pycache__")) for part in place.parts):
                # Under its own name it would have an effect on the template itself.
                found[place.with_name(".gitignore") if place.name == "gitignore" else place] = file
    for place, file in sorted(found.items()):
        yield place, file.read_text(encoding="utf-8")


def _replaced(text: str, words: dict[str, str]) -> str:
    return re.sub("|".join(map(re.escape, words)), lambda found: words[found[0]], text)


def _git(setting: str) -> str:
    try:
        done = subprocess.run(["git", "config", setting], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()
