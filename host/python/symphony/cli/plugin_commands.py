"""The commands of plugins, behind those of the core: listed from the store, run in a process of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from symphony.cli.command import Group, state_of
from symphony.cli.failure import Exit
from symphony.cli.output import note
from symphony.plugins import commands

if TYPE_CHECKING:
    from symphony.cli.state import State
    from symphony.plugins.commands import PluginCommand

KEPT: Final = "symphony.commands"


class RootGroup(Group):
    """The root command. No command of a plugin can replace one of the core."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._shown(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        found = commands.callable_by(self._kept(ctx), self._core(ctx)).get(cmd_name)
        return None if found is None else ForeignCommand(cmd_name, found.summary)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        unknown = args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None
        if unknown and not ctx.resilient_parsing:
            return args[0], ForeignCommand(args[0]), args[1:]  # of a plugin that was not seen yet, perhaps
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._summary(ctx, name)) for name in self._core(ctx)])
        foreign = self._shown(ctx)
        if foreign:
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, foreign[name].summary) for name in sorted(foreign)])

    def _core(self, ctx: click.Context) -> list[str]:
        return super().list_commands(ctx)

    def _shown(self, ctx: click.Context) -> dict[str, PluginCommand]:
        return commands.shown(self._kept(ctx), self._core(ctx))

    def _kept(self, ctx: click.Context) -> list[PluginCommand]:
        """Read once: completion asks for every name."""
        if KEPT not in ctx.meta:
            ctx.meta[KEPT] = commands.kept(state_of(ctx).home)
        kept: list[PluginCommand] = ctx.meta[KEPT]
        return kept


class ForeignCommand(click.Command):
    """A command that the core leaves to a plugin: its words are the plugin's to read."""

    def __init__(self, name: str, summary: str = "") -> None:
        super().__init__(
            name,
            short_help=summary,
            params=[click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)],
            add_help_option=False,
            context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
        )

    def invoke(self, ctx: click.Context) -> None:
        from symphony.plugins import catalog

        state, root = state_of(ctx), ctx.find_root()
        assert isinstance(root.command, RootGroup)
        found = commands.find(
            ctx.info_name or "", catalog.survey(state.home, note=note), root.command._core(root)
        )
        raise Exit(_run(state, found, ctx.info_name or "", ctx.params["words"]))


def _run(state: State, found: PluginCommand, called: str, words: tuple[str, ...]) -> int:
    from symphony.plugins.command_runner import run_command

    flags = [flag for flag, given in (("--json", state.json), ("--traceback", state.traceback)) if given]
    return run_command(state.home, found, called, [*flags, "--", *words])
