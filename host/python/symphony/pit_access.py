"""``symphony.pit``: the Pit of this process, for steps and for programs that use it as a library.

Workflow code is replayed, so it must not call the Pit; that is refused here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from symphony.core_components import core_components
from symphony.engine.run_loop import running_run_loop
from symphony.errors import PitUnavailable, WorkflowEffect
from symphony.home import Home, resolve_home
from symphony.settings import load_settings

if TYPE_CHECKING:
    import os
    from pathlib import Path
    from types import TracebackType

    from symphony.pit_types import CorePit
    from symphony.settings import HostSettings
else:
    CorePit = object  # the components are only known once a Pit is open


class OpenPit(CorePit):
    """A Pit that this process holds open; a context manager, closed at its end."""

    def __init__(self, native: Any, home: Path) -> None:
        self.native = native
        self.home = home
        # The ids of plugins' components by their full names, ``plugin.component``.
        self.ids: dict[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(_allowed(self.native), name)

    def __getitem__(self, name: str) -> Any:
        return _allowed(self.native)[self.ids.get(name, name)]

    def close(self) -> None:
        """Give the Pit back; another process may open it then. Closing twice has no effect."""
        global _current
        if _current is self:
            _current = None
            self.native.close()

    def __enter__(self) -> OpenPit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Pit of {self.home}>"


class PitAccess(CorePit):
    """The open Pit of this process: ``symphony.pit.artifact_store``, ``symphony.pit["acme.vectors"]``.

    Raises
    ------
    PitUnavailable
        No Pit is open here.
    WorkflowEffect
        Used in workflow code.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_allowed(_opened().native), name)

    def __getitem__(self, name: str) -> Any:
        return _opened()[name]

    def __repr__(self) -> str:
        return "<symphony.pit, none open>" if _current is None else repr(_current)


_current: OpenPit | None = None

pit = PitAccess()
"""The Pit of this process."""


def is_open() -> bool:
    """Whether this process has a Pit open."""
    return _current is not None


def _opened() -> OpenPit:
    if _current is None:
        raise PitUnavailable(
            "no Pit is open in this process", hint="steps have one; elsewhere call symphony.open_pit() first"
        )
    return _current


def _allowed(native: Any) -> Any:
    if running_run_loop() is not None:
        raise WorkflowEffect(
            "workflow code used the Pit, which is an effect",
            hint="move the call into a function marked @symphony.step",
        )
    return native


def open_pit(
    home: str | os.PathLike[str] | None = None,
    libraries: list[str] | None = None,
    *,
    notify: tuple[int, int] | None = None,
    settings: HostSettings | None = None,
) -> OpenPit:
    """Open the Pit of a home in this process, as a library, without a host.

    In the managed interpreter the Pit is open already, and the same object comes back.

    Parameters
    ----------
    home:
        The home folder; by default the one that ``symphony`` uses here.
    libraries:
        Further component libraries to load.
    notify:
        Descriptors through which the host learns of new records; only the managed interpreter has them.
    settings:
        Used in place of those in the home's ``config.toml``.

    Raises
    ------
    InvalidInput
        The home's ``config.toml`` has a setting that is not known.
    PitUnavailable
        Another process, or this one for another home, holds a Pit; the message names it.

    Example
    -------
    >>> with symphony.open_pit("/tmp/home") as pit:
    ...     pit.artifact_store.put(b"hello", name="greeting")
    """
    global _current
    if _current is not None and (home is None or resolve_home(home) == _current.home):
        return _current
    if _current is not None:
        raise PitUnavailable(
            f"this process holds the Pit of {_current.home}", hint="close it first: pit.close()"
        )
    from symphony import _host

    path = Home(resolve_home(home)).ensure().path
    settings = settings or load_settings(path)
    core = [str(library) for library in core_components()]
    native = _host.open_pit(
        str(path),
        [*core, *(libraries or [])],
        notify=notify,
        durability=settings.durability,
        flush_interval=settings.flush_every,
        log_backend=settings.log_backend,
    )
    _current = OpenPit(native, path)
    return _current
