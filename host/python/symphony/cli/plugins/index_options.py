"""The options of every command that installs: where packages come from, and whether they may be built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

_OPTIONS = (
    click.option("--index-url", metavar="URL", help="The package index to use."),
    click.option("--extra-index-url", metavar="URL", multiple=True, help="One more package index."),
    click.option("--find-links", "-f", metavar="PLACE", multiple=True, help="A folder or page with wheels."),
    click.option("--no-index", is_flag=True, help="Use no package index, only --find-links."),
    click.option("--pre", is_flag=True, help="Allow pre-releases."),
    click.option("--allow-build", is_flag=True, help="Allow to build, which runs code of what is built."),
    click.option("--no-build-isolation", is_flag=True, help="Build with what is installed here."),
)


def index_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add them all, in this order."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
