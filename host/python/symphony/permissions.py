"""Files that others could change: what a host reads and executes must be its user's, or the system's.

The home must be private, too: inputs and results are in it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from symphony.home import Home


def exposed(home: Home, libraries: Iterable[str], uid: int | None = None) -> list[tuple[str, str, str]]:
    """Where something is wrong, what, and what to type: for a home and the component libraries it loads.

    Parameters
    ----------
    uid:
        Whose home it is to be; None: this process's.

    Example
    -------
    >>> exposed(Home("/tmp/home"), ["/opt/acme/vectors.so"])
    [('/opt/acme/vectors.so', 'others may write to it (mode 0666)', 'chmod go-w /opt/acme/vectors.so')]
    """
    own = os.geteuid() if uid is None else uid
    code = dict.fromkeys(place for library in libraries for place in (Path(library).parent, Path(library)))
    found = [*_readable(home.path), *_judged(_state(home), {own}), *_judged(code, {own, 0})]
    return [(str(path), what, remedy) for path, what, remedy in found]


def _readable(home: Path) -> Iterator[tuple[Path, str, str]]:
    """A home that others may look into; who may write to it is judged with all that lies in it."""
    try:
        mode = stat.S_IMODE(home.stat().st_mode)
    except OSError:
        return
    if mode & 0o055 and not mode & 0o022:
        yield home, f"others may read it (mode {mode:04o})", f"chmod 700 {home}"


def _state(home: Home) -> Iterator[Path]:
    """The home and what lies near its top; of artifacts there may be millions, behind a private folder."""
    yield home.path
    for folder in (home.path, home.pit, home.pit / "log", home.pit / "snapshots", home.logs, home.reports):
        if folder.is_dir():
            yield from sorted(folder.iterdir())


def _judged(paths: Iterable[Path], owners: set[int]) -> Iterator[tuple[Path, str, str]]:
    for path in dict.fromkeys(paths):
        try:
            seen = path.stat()
        except OSError:  # gone meanwhile, or a broken link
            continue
        if seen.st_uid not in owners:
            yield (
                path,
                f"belongs to uid {seen.st_uid}",
                f"chown {min(owners, key=lambda uid: uid == 0)} {path}",
            )
        elif seen.st_mode & 0o022 and not (stat.S_ISDIR(seen.st_mode) and seen.st_mode & stat.S_ISVTX):
            mode = stat.S_IMODE(seen.st_mode)
            yield path, f"others may write to it (mode {mode:04o})", f"chmod go-w {path}"
