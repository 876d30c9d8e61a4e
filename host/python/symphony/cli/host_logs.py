"""``symphony host logs``: what the host and its interpreter wrote, from the files; needs no host."""

from __future__ import annotations

import os
import time
from typing import IO, TYPE_CHECKING, Final

import click

from symphony.cli.command import Command, State, pass_state
from symphony.cli.output import print_json, safe
from symphony.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

NAMES: Final = ("symphonyd", "interpreter")
LOOK: Final = 0.25
READ: Final = 4 << 20  # from the end of a file, when it is shown


class _Tail:
    """One log file, also after it was put aside for a new one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._rest = b""

    def last(self, count: int) -> list[str]:
        """The last lines that are there now; ``more`` goes on behind them."""
        self._open()
        if self._file is None:
            return []
        self._file.seek(max(0, self._path.stat().st_size - READ))
        lines = self.more()
        return lines[len(lines) - count :] if count < len(lines) else lines

    def more(self) -> list[str]:
        """The whole lines that were written since."""
        lines = self._read()
        if self._moved():
            self._open()
            lines += self._read()
        return lines

    def _read(self) -> list[str]:
        if self._file is None:
            return []
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]

    def _open(self) -> None:
        self.close()
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            self._file = None

    def _moved(self) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return self._file is None or there.st_ino != os.fstat(self._file.fileno()).st_ino

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


@click.command(
    "logs",
    cls=Command,
    examples="""
    symphony host logs
    symphony host logs --lines 200
    symphony host logs --follow
    """,
)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on.")
@click.option("--lines", "-n", type=click.IntRange(0), default=20, help="How many of each log; default 20.")
@pass_state
def logs(state: State, follow: bool, lines: int) -> None:
    """Show the end of the host's log and of its interpreter's, where prints of steps go. Needs no host."""
    if follow and state.json:
        raise InvalidInput("--follow has no end, so that it gives no document", hint="leave out --json")
    tails = {name: _Tail(state.home.logs / f"{name}.log") for name in NAMES}
    try:
        found = {name: tail.last(lines) for name, tail in tails.items()}
        if state.json:
            print_json(found)
            return
        for name, text in found.items():
            _show(name, text)
        while follow:
            time.sleep(LOOK)
            for name, tail in tails.items():
                _show(name, tail.more())
    finally:
        for tail in tails.values():
            tail.close()


def _show(name: str, lines: list[str]) -> None:
    for line in lines:
        click.echo(f"{name:<11}  {safe(line)}")
