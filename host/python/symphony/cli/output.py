"""What reaches the screen: one JSON document or plain tables on stdout, notes on stderr.

No boxes, no emoji, 80 columns; colour only on a terminal and without NO_COLOR.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from symphony.plugins.listing import Listing

GAP = "  "
CODES = {"red": 31, "green": 32, "yellow": 33}
COLOURS = {
    "active": "green",
    "completed": "green",
    "ok": "green",
    "ready": "green",
    "hot": "green",
    "broken": "red",
    "failed": "red",
    "missing": "red",
    "quarantined": "red",
    "changed": "red",
    "incompatible": "yellow",
    "conflict": "yellow",
    "cancelled": "yellow",
    "disabled": "yellow",
}


def print_json(document: Any) -> None:
    """One JSON document on stdout, in ASCII where the terminal or a lone surrogate asks for it."""
    text = json.dumps(document, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(document, indent=2 if sys.stdout.isatty() else None)
    echo(text)


def echo(text: str = "") -> None:
    """Lines on stdout, at once."""
    print(text, flush=True)


def note(text: str) -> None:
    """One line on stderr. Who does not read it any more ends no command halfway."""
    try:
        print(text, file=sys.stderr, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def styled(text: str, colour: str, stream: TextIO) -> str:
    """The text in a colour, where the stream is a terminal and NO_COLOR is not set."""
    if not stream.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{CODES[colour]}m{text}\x1b[0m"


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[object]],
    status: int | None = None,
    below: Sequence[str] = (),
) -> None:
    """Print a table. Its last column is cut to the width; the column ``status`` is coloured by its word.

    Each row may have a text ``below`` it, which is wrapped and not cut; an empty one is none.
    """
    cells = [[_line(str(cell)) for cell in row] for row in rows]
    widths = [max(_width(line[i]) for line in [list(headers), *cells]) for i in range(len(headers))]
    room = max(terminal_width() - sum(widths[:-1]) - len(GAP) * (len(headers) - 1), 10)
    for number, line in enumerate([list(headers), *cells]):
        line[-1] = cut(line[-1], room)
        shown = [text + " " * (width - _width(text)) for text, width in zip(line, widths, strict=True)]
        shown[-1] = line[-1]
        if status is not None and number > 0 and line[status] in COLOURS:
            padding = shown[status][len(line[status]) :]
            shown[status] = styled(line[status], COLOURS[line[status]], sys.stdout) + padding
        echo(GAP.join(shown).rstrip())
        if below and number > 0:
            margin = " " * (widths[0] + len(GAP))
            import textwrap

            for text in textwrap.wrap(_line(below[number - 1]), max(terminal_width() - len(margin), 20)):
                echo(margin + text)


def terminal_width() -> int:
    """The terminal's width, 80 where there is none."""
    import shutil

    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80


def cut(text: str, room: int) -> str:
    """The text in at most ``room`` columns; what is left out is marked by three dots."""
    if _width(text) <= room:
        return text
    while text and _width(text) > room - 3:
        text = text[:-1]
    return text.rstrip() + "..."


def seconds(value: float | None) -> str:
    """A duration as people write it."""
    if value is None:
        return ""
    if value < 0.1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(int(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(number: int | None) -> str:
    """An amount of bytes as people write it: ``17 B``, ``1.5 KiB``."""
    if number is None:
        return ""
    if number < 1024:
        return f"{number} B"
    amount = float(number)
    for unit in ("KiB", "MiB", "GiB"):
        amount /= 1024
        if amount < 1024:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1024:.1f} TiB"


def counted(number: int, what: str) -> str:
    """``1 step``, ``2 steps``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def safe(text: str) -> str:
    """Text from outside without control characters, which could move the terminal's cursor."""
    if text.isascii() and text.isprintable():
        return text
    import unicodedata

    return "".join(
        c if c in "\n\t" or unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def _line(text: str) -> str:
    return " ".join(safe(text).split())


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def show_listing(listing: Listing, *, json: bool) -> None:
    """What ``symphony plugins list`` shows."""
    if json:
        print_json(listing.document)
        return
    table(["NAME", "VERSION", "STATUS", "ADDS"], listing.rows, status=2)
    for line in listing.notes:
        note(line)


def show_crash(crash: dict[str, Any]) -> None:
    """The gist of a crash report, and where all of it is."""
    for line in crash["gist"][:9]:
        echo(f"  {safe(line)}")
    echo(f"  report    {crash['report']}")
