"""``symphony doctor``: look at a home's log, say what is wrong, and try again what was given up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from symphony import client
from symphony.cli.command import Command, State, pass_state
from symphony.cli.failure import Exit
from symphony.cli.output import counted, note, print_json, show_crash, table
from symphony.crash_reports import crash_document, crash_reports
from symphony.errors import Conflict, SymphonyError
from symphony.home_size import sizes
from symphony.permissions import exposed

if TYPE_CHECKING:
    from symphony.home import Home

MIB = 1 << 20


def examine(home: Home) -> dict[str, Any]:
    """All that is known of a home's Pit, without its lease; ``problems`` is what needs attention."""
    from symphony import _host
    from symphony.settings import load_settings

    settings = load_settings(home.path)
    holder = _host.lease_holder(str(home.path))
    report: dict[str, Any] = {
        "home": str(home.path),
        "held_by": holder,
        "durability": settings.durability,
        "flush_interval": settings.flush_interval,
        "log_backend": settings.log_backend,
    }
    if (home.pit / "log").is_dir():
        found = _host.inspect(str(home.path))
        if settings.log_backend is not None:
            found |= {"backend": settings.log_backend, "backend_reason": "chosen in config.toml"}
        report["log_backend"] = found["backend"]
        report |= {key: found[key] for key in ("backend_reason", "segments", "records")}
        report["snapshots"] = _snapshots(home)
        report["problems"] = _problems(found, holder)
    else:
        report |= {"segments": [], "records": {}, "snapshots": [], "problems": []}
    report["problems"] += [_problem(*row) for row in exposed(home, _libraries(home))]
    report["problems"] += _troubles(home)
    report["size"] = sizes(home)
    reports = crash_reports(home)
    report["deaths"] = {"reports": len(reports), "last": crash_document(reports[0]) if reports else None}
    return report


def _troubles(home: Home) -> list[dict[str, str]]:
    """What keeps a host that runs from its work."""
    try:
        connection = client.connect(home)
        if connection is None:
            return []
        with connection:
            status = connection.request("host.status", timeout=client.ANSWER_LIMIT)
    except client.HostSilent as error:
        return [_problem("host", str(error), error.hint)]
    except SymphonyError:  # one of another environment, or a home that is refused: named elsewhere
        return []
    problem = (status.get("interpreter") or {}).get("problem")
    return [_problem("interpreter", problem["message"], problem["hint"])] if problem else []


def _libraries(home: Home) -> list[str]:
    """The native code that a host of this home loads, as far as it is known without loading a plugin."""
    from symphony import _host, symphonyd
    from symphony.core_components import core_components
    from symphony.plugins import catalog

    own = [*map(str, core_components()), str(symphonyd.binary()), str(_host.__file__)]
    try:
        states = catalog.survey(home, probe=False)
    except SymphonyError:  # a home that is refused is among what is found anyway
        return own
    given = [item for state in states for item in state.contributions if item["kind"] == "component"]
    return own + [item["library"] for item in given]


def _snapshots(home: Home) -> list[dict[str, Any]]:
    found = sorted((home.pit / "snapshots").glob("*.snap"))
    return [{"component": path.stem, "bytes": path.stat().st_size} for path in found]


def _problems(found: dict[str, Any], holder: int | None) -> list[dict[str, str]]:
    problems = [
        _problem(
            segment["path"],
            f"at byte {segment['damage']['offset']}: {segment['damage']['what']}",
            "the next start keeps what is before it and sets the rest aside",
        )
        for segment in found["segments"]
        if segment["damage"] is not None
    ]
    problems += [
        _problem(folder, f"set aside: {what}", "look whether it can go, then delete the folder")
        for folder, what in found["aside"]
    ]
    problems += [
        _problem(component, f"disabled: {reason}", "update its plugin, then: symphony doctor --retry")
        for component, reason, _note in found["disabled"]
    ]
    if found["backend"] == "none":
        remedy = "free space, or let it be written; reading works meanwhile"
        problems.append(_problem("log", found["backend_reason"], remedy))
    if found["poison"] is not None and holder is None:
        component, position, deaths = found["poison"]
        what = f"reading its record at position {position} ended the process {counted(deaths, 'time')}"
        problems.append(_problem(component, what, "update Symphony, then: symphony doctor --retry"))
    return problems


def _problem(where: str, what: str, remedy: str) -> dict[str, str]:
    return {"where": where, "what": what, "do": remedy}


def _retry(home: Home) -> None:
    from symphony import _host

    holder = _host.lease_holder(str(home.path))
    if holder is not None:
        raise Conflict(f"process {holder} uses the Pit of {home.path}", hint="symphony host stop")
    for path in [*sorted((home.pit / "disabled").glob("*")), home.pit / "replaying"]:
        if path.exists():
            path.unlink()
            note(
                "records that ended the process are read again"
                if path.parent == home.pit
                else f"{path.name} is enabled"
            )


@click.command(
    "doctor",
    cls=Command,
    examples="""
    symphony doctor
    symphony doctor --json
    symphony doctor --retry
    """,
)
@click.option(
    "--retry", is_flag=True, help="Try again what was given up: disabled components, deadly records."
)
@pass_state
def command(state: State, retry: bool) -> None:
    """Look at this home: damage of its log, what was set aside or disabled, what others may change.

    Exit code 1 if there is any.
    """
    if retry:
        _retry(state.home)
    report = examine(state.home)
    if state.json:
        print_json(report)
    else:
        _show(report)
    if report["problems"]:
        raise Exit(1)


def _show(report: dict[str, Any]) -> None:
    segments = report["segments"]
    used = sum(segment["used"] for segment in segments)
    records = sum(report["records"].values())
    rows = [
        ("home", report["home"]),
        ("in use by", f"process {report['held_by']}" if report["held_by"] else "nobody"),
        ("durability", _durability(report)),
        (
            "log",
            f"{counted(len(segments), 'segment')}, {used / (1 << 20):.1f} MiB, {counted(records, 'record')}",
        ),
    ]
    if segments:
        rows.append(("back end", f"{report['log_backend']}: {report['backend_reason']}"))
    size = report["size"]
    parts = ", ".join(f"{name} {size[name] / MIB:.1f}" for name in size if name != "total")
    rows.append(("size", f"{size['total'] / MIB:.1f} MiB: {parts}"))
    for name, text in rows:
        click.echo(f"{name:<12}{text}")
    if report["records"]:
        covered = {row["component"]: row["bytes"] for row in report["snapshots"]}
        click.echo()
        table(
            ["COMPONENT", "RECORDS", "SNAPSHOT"],
            [
                [component, count, f"{covered[component]} bytes" if component in covered else "-"]
                for component, count in sorted(report["records"].items())
            ],
        )
    deaths = report["deaths"]
    if deaths["last"]:
        click.echo(f"\n{counted(deaths['reports'], 'report')} of deaths of the interpreter, the last one:")
        show_crash(deaths["last"])
    click.echo()
    for problem in report["problems"]:
        click.echo(f"{problem['where']}: {problem['what']}\n  {problem['do']}")
    if not report["problems"]:
        click.echo("nothing needs attention")


def _durability(report: dict[str, Any]) -> str:
    if report["durability"] == "machine":
        return "machine: what is acknowledged survives a power loss"
    interval = report["flush_interval"]
    lost = f"the last {interval:g} s" if interval else "what the kernel still holds"
    return f"process: a power loss may take {lost}"
