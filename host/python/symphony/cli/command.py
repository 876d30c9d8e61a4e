"""The click classes of every command: the options they all have, and groups that import commands late."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from symphony.cli.state import State as State
from symphony.home import absolute

if TYPE_CHECKING:
    from collections.abc import Sequence


def state_of(context: click.Context) -> State:
    """The state of the invocation that ``context`` belongs to."""
    return context.find_root().ensure_object(State)


pass_state = click.make_pass_decorator(State)


def _set_json(context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        state_of(context).json = True


def _set_home(context: click.Context, _option: click.Parameter, value: str | None) -> None:
    if value is not None:
        state_of(context).home_option = str(absolute(value))


def _set_traceback(context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        state_of(context).traceback = True


def _leave_out(_context: click.Context, _option: click.Parameter, names: str | None) -> None:
    if names is not None:
        from symphony.plugins import selection

        selection.leave_out(names)


class _WithoutPlugins(click.Option):
    """``--no-plugins[=NAME,...]``; without an ``=`` click would take the next word (see ``spelled_out``)."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        return None if record is None else ("--no-plugins[=NAME,...]", record[1])


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """The command line with ``--no-plugins=`` for ``--no-plugins``, which may have a value or none."""
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    return [f"{word}=" if word == "--no-plugins" else word for word in words[:end]] + words[end:]


no_probe_option = click.option(
    "--no-probe", is_flag=True, help="Execute nothing: what was never probed is shown as such."
)


def common_options() -> list[click.Parameter]:
    """The options that every command has, understood before and after its arguments."""
    eager: dict[str, Any] = {"expose_value": False, "is_eager": True}
    return [
        click.Option(["--json"], is_flag=True, callback=_set_json, help="Print one JSON document.", **eager),
        click.Option(
            ["--home"], metavar="DIR", callback=_set_home, help="The host's home (or SYMPHONY_HOME).", **eager
        ),
        click.Option(
            ["--traceback"],
            is_flag=True,
            callback=_set_traceback,
            help="Show the whole traceback of an error.",
            **eager,
        ),
        _WithoutPlugins(
            ["--no-plugins"],
            callback=_leave_out,
            help="Leave out these installed plugins, or all (or SYMPHONY_PLUGINS).",
            **eager,
        ),
    ]


def _check_settings(
    _context: click.Context, _option: click.Parameter, words: tuple[str, ...]
) -> tuple[str, ...]:
    if words:
        from symphony.settings import parse_settings

        parse_settings(words)
    return words


settings_option = click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_check_settings,
    help="Start the host with a setting in place of config.toml's (repeatable).",
)


class Command(click.Command):
    """A command with the common options; ``examples`` end its help."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(common_options())
        self.epilog = _examples(examples)


class Group(click.Group):
    """A group with the common options. Its commands are imported when they are used, not to list them.

    ``lazy`` has, for each command, its ``module[:attribute]`` below ``symphony.cli`` and the line that a
    list shows of it.
    """

    command_class = Command

    def __init__(
        self, *args: Any, lazy: dict[str, tuple[str, str]] | None = None, examples: str = "", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(common_options())
        self.epilog = _examples(examples)
        self._lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self._lazy, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._lazy:
            module, _, attribute = self._lazy[cmd_name][0].partition(":")
            found: click.Command = getattr(import_module(f"symphony.cli.{module}"), attribute or "command")
            return found
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from symphony.plugins.names import did_you_mean

        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            known = self.list_commands(ctx)
            hint = did_you_mean(args[0], known, f"commands: {', '.join(known)}")
            raise click.UsageError(f"there is no command {args[0]!r}: {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if not self._lazy:
            super().format_commands(ctx, formatter)
            return
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._summary(ctx, name)) for name in self.list_commands(ctx)])

    def _summary(self, ctx: click.Context, name: str) -> str:
        if name in self._lazy:
            return self._lazy[name][1]
        command = self.get_command(ctx, name)
        return command.get_short_help_str(limit=60) if command else ""


def _examples(text: str) -> str | None:
    lines = [line.strip() for line in text.strip().splitlines()]
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines) if text else None
