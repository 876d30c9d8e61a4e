"""``symphony plugins info``: one plugin, what it adds or what is wrong with it."""

from __future__ import annotations

import click

from symphony.cli.command import Command, State, no_probe_option, pass_state
from symphony.cli.output import counted, note, print_json, safe
from symphony.observing.place import look
from symphony.plugins import catalog, lookup


@click.command("info", cls=Command, examples="symphony plugins info symphony-conductor")
@click.argument("name")
@no_probe_option
@pass_state
def command(state: State, name: str, no_probe: bool) -> None:
    """Show one plugin: what it adds, or what is wrong and where. Probes it again if it failed."""
    known = lookup.plugin(name, catalog.survey(state.home, probe=not no_probe, note=note))
    if known.status == "broken" and not no_probe:
        known = lookup.plugin(known.name, catalog.survey(state.home, retry=[known.name], note=note))
    if state.json:
        print_json(known.json())
        return
    click.echo(f"{known.name} {known.version}".rstrip())
    click.echo(f"  status     {known.status}")
    if known.requirement:
        click.echo(f"  installed  {known.requirement}")
    if known.problem:
        for word, text in (
            ("problem", known.problem.message),
            ("at", known.problem.at),
            ("hint", known.problem.hint),
        ):
            if text:
                click.echo(f"  {word:<9}  {text}")
    if known.result and known.result.ok:
        click.echo(f"  import     {known.result.ms:.0f} ms, {known.result.modules} modules")
    for item in known.contributions:
        click.echo(
            f"  {item['kind']:<9}  {item['name']}" + (f"  {item['summary']}" if item.get("summary") else "")
        )
    observed = look(state.home, known.name)
    if observed:
        counts = [f"told of {counted(observed['told'], 'event')}"]
        counts += [f"{observed[word]} {word}" for word in ("lost", "raised") if observed[word]]
        click.echo(f"  observers  {', '.join(counts)}")
        if observed["problem"]:
            click.echo(f"             {safe(observed['problem'])}")
