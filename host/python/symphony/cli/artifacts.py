"""``symphony artifacts``: list, look at, fetch, search and verify what runs produced."""

from __future__ import annotations

import base64
import os
import shlex
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from symphony import client
from symphony.cli.artifacts_cold import cool, warm
from symphony.cli.artifacts_gc import gc
from symphony.cli.command import Group, State, pass_state
from symphony.cli.failure import Exit
from symphony.cli.output import counted, note, print_json, size, table
from symphony.cli.tally import tally
from symphony.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from symphony.client import Client

SHOWN = 16  # hexadecimal digits of an id, more than enough to name an artifact
PAGE = 1000

command = Group(
    "artifacts",
    help="Look at what runs produced. ARTIFACT is an id, which may be cut short, NAME, or NAME@VERSION.",
    examples="""
    symphony artifacts list --prefix report/
    symphony artifacts get report/summary -o summary.txt
    symphony artifacts gc --dry-run
    """,
)
command.add_command(gc)
command.add_command(cool)
command.add_command(warm)


@command.command(
    "list",
    examples="""
    symphony artifacts list
    symphony artifacts list --prefix report/ --tag final --limit 20
    symphony artifacts list --json
    """,
)
@click.option("--prefix", metavar="TEXT", default="", help="Only names that begin with this.")
@click.option("--tag", metavar="TAG", default="", help="Only artifacts with this tag.")
@click.option("--limit", metavar="N", type=click.IntRange(1), help="At most so many.")
@pass_state
def list_artifacts(state: State, prefix: str, tag: str, limit: int | None) -> None:
    """List named artifacts, the newest version of each, by name."""
    with client.connect_or_start(state.home, note=note) as connection:
        rows = _listed(connection, prefix, tag, limit)
    if state.json:
        print_json(rows)
        return
    _table(rows)
    if not rows:
        note("no named artifacts" + (" of this kind" if prefix or tag else ""))
    elif limit is not None and len(rows) == limit:
        note(f"the first {limit}; there may be more")


@command.command(
    "show",
    examples="""
    symphony artifacts show report/summary
    symphony artifacts show report/summary@2
    symphony artifacts show 5f1c0a --json
    """,
)
@click.argument("artifact")
@pass_state
def show(state: State, artifact: str) -> None:
    """Show what is known of an artifact: its versions, tags, metadata, where it came from."""
    with client.connect_or_start(state.home, note=note) as connection:
        row = connection.request("artifacts.show", {"artifact": artifact})
    if state.json:
        print_json(row)
        return
    from symphony.cli.rendering import render

    versions, lineage = row.pop("versions"), row.pop("lineage")
    facts = {**row, "size": f"{row['size']} ({size(row['size'])})"}
    for line in render(facts):
        click.echo(line)
    if any(lineage.values()):
        click.echo()
        for line in render({word: items for word, items in lineage.items() if items}):
            click.echo(line)
    if versions:
        click.echo()
        table(
            ["VERSION", "ID", "CREATED (UTC)", "NAME", "MESSAGE"],
            [
                [v["version"], v["id"][:SHOWN], minute(v["created"]), v["name"], v["message"] or v["step"]]
                for v in versions
            ],
        )


@command.command(
    "get",
    examples="""
    symphony artifacts get report/summary
    symphony artifacts get 5f1c0a -o summary.txt
    symphony artifacts get report/summary@1 -o summary.txt --force
    """,
)
@click.argument("artifact")
@click.option(
    "--output", "-o", metavar="FILE", type=click.Path(dir_okay=False), help="Write it here, not to stdout."
)
@click.option("--force", "-f", is_flag=True, help="Replace FILE where it exists.")
@pass_state
def get(state: State, artifact: str, output: str | None, force: bool) -> None:
    """Write the content of an artifact to stdout or to a file. The file appears once it is complete."""
    if output is not None:
        _check_target(Path(output), force)
    with client.connect_or_start(state.home, note=note) as connection:
        if output is not None:
            document = _to_file(connection, artifact, Path(output))
            if not state.json:
                note(f"{output}: {size(document['size'])}")
        elif state.json:
            content = bytearray()
            document = _fetch(connection, artifact, content.extend)
            document["content"] = base64.b64encode(content).decode("ascii")
        else:
            if sys.stdout.isatty():
                first = connection.request("artifacts.get", {"artifact": artifact, "limit": 4096})
                if b"\0" in base64.b64decode(first["content"]):
                    raise InvalidInput(
                        f"{artifact} is no text ({size(first['size'])})", hint="-o FILE, or redirect it"
                    )
            document = _fetch(connection, artifact, sys.stdout.buffer.write)
    if state.json:
        print_json(document)


@command.command(
    "search",
    examples="""
    symphony artifacts search quarterly figures
    symphony artifacts search 'quart*' --tag final --limit 5
    symphony artifacts search --type text/ --json
    """,
)
@click.argument("words", metavar="[WORD]...", nargs=-1)
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="Only artifacts with this tag.")
@click.option("--type", "media_type", metavar="TYPE", default="", help="Only this media type, or beginning.")
@click.option("--limit", metavar="N", type=click.IntRange(1), default=20, help="At most so many (20).")
@pass_state
def search(state: State, words: tuple[str, ...], tags: tuple[str, ...], media_type: str, limit: int) -> None:
    """Find artifacts by their text, name, tags and metadata, best first.

    All WORDs must occur; one that ends with * is the beginning of a word.
    """
    params = {"query": " ".join(words), "tags": list(tags), "media_type": media_type, "limit": limit}
    with client.connect_or_start(state.home, note=note) as connection:
        rows = connection.request("artifacts.search", params)
    if state.json:
        print_json(rows)
        return
    _table(rows)
    if not rows:
        note("nothing found")


@command.command(
    "verify",
    examples="""
    symphony artifacts verify
    symphony artifacts verify report/summary 5f1c0a --json
    """,
)
@click.argument("artifacts", metavar="[ARTIFACT]...", nargs=-1)
@pass_state
def verify(state: State, artifacts: tuple[str, ...]) -> None:
    """Read artifacts, or all there are, and check that they still are what was stored. Exit code 1 if not."""
    checked, damaged = 0, []
    with client.connect_or_start(state.home, note=note) as connection, tally("verified") as progress:
        for params in _pages(artifacts):
            while params:
                page = connection.request("artifacts.verify", params)
                checked += page["checked"]
                damaged += page["damaged"]
                progress.count(checked)
                params = {**params, "after": page["next"]} if page["next"] else {}
    if state.json:
        print_json({"checked": checked, "damaged": damaged})
    else:
        for one in damaged:
            click.echo(f"damaged  {one}")
        note(f"{counted(checked, 'artifact')} verified, {len(damaged)} damaged")
    if damaged:
        raise Exit(1)


def minute(moment: str | None) -> str:
    """The time to the minute."""
    return (moment or "")[:16].replace("T", " ")


def _pages(artifacts: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{"artifact": one} for one in artifacts] or [{"limit": PAGE}]


def _listed(connection: Client, prefix: str, tag: str, limit: int | None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while limit is None or len(rows) < limit:
        wanted = PAGE if limit is None else min(PAGE, limit - len(rows))
        params = {"prefix": prefix, "tag": tag, "limit": wanted, "after": rows[-1]["name"] if rows else ""}
        page = connection.request("artifacts.list", params)
        rows += page
        if len(page) < wanted:
            break
    return rows


def _table(rows: list[dict[str, Any]]) -> None:
    table(
        ["ID", "SIZE", "CREATED (UTC)", "VERSION", "NAME"],
        [
            [row["id"][:SHOWN], size(row["size"]), minute(row["created"]), row["version"] or "", row["name"]]
            for row in rows
        ],
    )


def _fetch(connection: Client, artifact: str, write: Any) -> dict[str, Any]:
    """Hand the content over part by part."""
    offset: int | None = 0
    with tally("fetched", "bytes") as progress:
        while offset is not None:
            part = connection.request("artifacts.get", {"artifact": artifact, "offset": offset})
            write(base64.b64decode(part["content"]))
            artifact, offset = part["id"], part["next"]
            progress.count(part["size"] if offset is None else offset, part["size"])
    return {"id": part["id"], "size": part["size"]}


def _check_target(path: Path, force: bool) -> None:
    if not path.parent.is_dir():
        raise InvalidInput(
            f"there is no folder {path.parent}", hint=f"mkdir -p {shlex.quote(str(path.parent))}"
        )
    if path.exists() and not path.is_file():
        raise InvalidInput(f"{path} is not a file that could be replaced", hint="leave out -o for stdout")
    if path.exists() and not force:
        raise Conflict(f"{path} is there already", hint="--force replaces it")


def _to_file(connection: Client, artifact: str, path: Path) -> dict[str, Any]:
    """Into a file beside it first, so that nobody finds half of it."""
    file: IO[bytes]
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            document = _fetch(connection, artifact, file.write)
            file.close()
            Path(file.name).chmod(0o666 & ~_umask())
            Path(file.name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(file.name).unlink()
            raise
    return {**document, "path": str(path.absolute())}


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
