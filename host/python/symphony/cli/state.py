"""What the common options of a command line said."""

from __future__ import annotations

from symphony.home import Home, resolve_home


class State:
    """One per invocation."""

    def __init__(self, json: bool = False, home_option: str | None = None, traceback: bool = False) -> None:
        self.json = json
        self.home_option = home_option
        self.traceback = traceback

    @property
    def home(self) -> Home:
        """The home to use; see ``resolve_home``."""
        return Home(resolve_home(self.home_option))
