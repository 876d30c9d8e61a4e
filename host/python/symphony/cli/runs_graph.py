"""``symphony runs graph`` and ``explain``: which steps waited for which, and why each started when it did."""

from __future__ import annotations

from typing import Any

import click

from symphony import client
from symphony.cli.command import Command, State, pass_state
from symphony.cli.output import note, print_json, safe, seconds, table


@click.command(
    "graph",
    cls=Command,
    examples="""
    symphony runs graph 01jd3k
    symphony runs graph 01jd3k --dot | dot -Tsvg > run.svg
    symphony runs graph 01jd3k --mermaid
    """,
)
@click.argument("run", metavar="ID")
@click.option("--dot", "form", flag_value="dot", help="As Graphviz reads it.")
@click.option("--mermaid", "form", flag_value="mermaid", help="As Mermaid reads it.")
@pass_state
def graph(state: State, run: str, form: str | None) -> None:
    """Show the steps of a run, and which waited for which."""
    document = client.ask(state.home, "runs.graph", {"run": run})
    if state.json:
        print_json(document)
    elif form == "dot":
        click.echo(dot(document))
    elif form == "mermaid":
        click.echo(mermaid(document))
    else:
        after: dict[str, list[str]] = {}
        for edge in document["edges"]:
            after.setdefault(edge["to"], []).append(edge["from"])
        table(
            ["STATE", "TIME", "KEY", "AFTER"],
            [
                [node["state"], seconds(node["seconds"]), node["key"], " ".join(after.get(node["key"], []))]
                for node in document["nodes"]
            ],
            status=0,
        )


def dot(document: dict[str, Any]) -> str:
    """The graph in Graphviz's language."""

    def quoted(text: str) -> str:
        return '"' + safe(text).replace("\\", "\\\\").replace('"', '\\"') + '"'

    nodes = [f"  {quoted(node['key'])};" for node in document["nodes"]]
    edges = [f"  {quoted(edge['from'])} -> {quoted(edge['to'])};" for edge in document["edges"]]
    return "\n".join([f"digraph {quoted(document['workflow'])} {{", *nodes, *edges, "}"])


def mermaid(document: dict[str, Any]) -> str:
    """The graph in Mermaid's language, which takes no free text as a node's name."""
    number = {node["key"]: f"s{at}" for at, node in enumerate(document["nodes"])}
    nodes = [
        f'  {number[node["key"]]}["{safe(node["key"]).replace(chr(34), "#quot;")}"]'
        for node in document["nodes"]
    ]
    edges = [
        f"  {number[edge['from']]} --> {number[edge['to']]}"
        for edge in document["edges"]
        if edge["from"] in number
    ]
    return "\n".join(["flowchart TD", *nodes, *edges])


@click.command(
    "explain",
    cls=Command,
    examples="""
    symphony runs explain 01jd3k
    symphony runs explain 01jd3k --json
    """,
)
@click.argument("run", metavar="ID")
@pass_state
def explain(state: State, run: str) -> None:
    """Say for each step of a run how long it waited and for what, and what it waits for now.

    Of the past as far as it is recorded; of what has not ended as the host knows it.
    """
    document = client.ask(state.home, "runs.explain", {"run": run})
    if state.json:
        print_json(document)
        return
    steps = document["steps"]
    rows = [[step["state"], seconds(step["waited"]), step["key"]] for step in steps]
    reasons = [_reason(step, document["because"]) for step in steps]
    if document["because"]:
        click.echo(f"the run waits: {safe(document['because'])}")
    table(["STATE", "WAITED", "KEY"], rows, status=0, below=reasons)
    for gap in document["not_recorded"]:
        note(f"not recorded: {gap}")


def _reason(step: dict[str, Any], of_the_run: str | None) -> str:
    """Why a step waits, and how its attempts failed; what holds the whole run was said already."""
    because = [] if step["because"] == of_the_run else [step["because"]]
    return "; ".join(because + [f"attempt {it['attempt']}: {it['message']}" for it in step["failures"]])
