"""``symphony plugins info``: one plugin, what it adds or what is wrong with it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from symphony.cli.command import Command, State, no_probe_option, pass_state
from symphony.cli.output import counted, note, print_json, safe
from symphony.observing.place import look
from symphony.plugins import catalog, local, lookup
from symphony.plugins.namespace import KINDS, UNORDERED, Offer

if TYPE_CHECKING:
    from symphony.plugins.catalog import PluginState


@click.command("info", cls=Command, examples="symphony plugins info symphony-conductor")
@click.argument("name")
@no_probe_option
@pass_state
def command(state: State, name: str, no_probe: bool) -> None:
    """Show one plugin: what it adds, or what is wrong and where. Probes it again if it failed."""
    states = catalog.survey(state.home, probe=not no_probe, note=note)
    everyone = local.with_local(state.home, states, note, probe=not no_probe)
    known = lookup.plugin(name, everyone)
    if known.status == "broken" and not no_probe:
        again = catalog.survey(state.home, retry=[known.name], note=note)
        everyone = local.with_local(state.home, again, lambda text: None)
        known = lookup.plugin(known.name, everyone)
    if state.json:
        print_json(known.json())
        return
    click.echo(f"{known.name} {known.version}".rstrip())
    click.echo(f"  status     {known.status}")
    if known.candidate and known.candidate.file:
        click.echo(f"  file       {known.candidate.file}")
    if known.requirement:
        click.echo(f"  installed  {known.requirement}")
    click.echo(f"  order      {known.order} of {len(everyone)}{_why(known)}")
    problems = [("problem", known.problem)] if known.problem else []
    for word, problem in [*problems, *(("note", told) for told in known.notes)]:
        for label, text in ((word, problem.message), ("at", problem.at), ("hint", problem.hint)):
            if text:
                click.echo(f"  {label:<9}  {text}")
    if known.result and known.result.ok:
        click.echo(f"  import     {known.result.ms:.0f} ms, {known.result.modules} modules")
    for item in known.contributions:
        click.echo(f"  {item['kind']:<9}  {_named(known, item)}")
    observed = look(state.home, known.name)
    if observed:
        counts = [f"told of {counted(observed['told'], 'event')}"]
        counts += [f"{observed[word]} {word}" for word in ("lost", "raised") if observed[word]]
        click.echo(f"  observers  {', '.join(counts)}")
        if observed["problem"]:
            click.echo(f"             {safe(observed['problem'])}")


def _why(plugin: PluginState) -> str:
    """What its place follows from."""
    if plugin.rank.order != UNORDERED:
        return f", order = {plugin.rank.order} in plugins.toml"
    if plugin.rank.installed == math.inf:
        return ""
    return f", installed {datetime.fromtimestamp(plugin.rank.installed, UTC):%Y-%m-%d %H:%M} UTC"


def _named(plugin: PluginState, item: dict[str, Any]) -> str:
    """The full name of a contribution, the short one where that means it, and what it is for."""
    if item["kind"] not in KINDS:
        return str(item["name"])
    short = plugin.short_name(item)
    summary = f"  {item['summary']}" if item.get("summary") else ""
    return f"{Offer.of(plugin.name, item).full}{f' ({short})' if short else ''}{summary}"
