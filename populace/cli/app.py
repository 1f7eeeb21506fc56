"""The command line: its commands, and what becomes of errors."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from populace.cli import (
    costs,
    dashboards,
    diff,
    doctor,
    estimate,
    experiment,
    export,
    fork,
    interview,
    new,
    replay,
    resume,
    run,
    runs,
    scale,
    scenarios,
    survey,
    watch,
)
from populace.cli.streams import guard_streams
from populace.core.errors import PopulaceError
from populace.core.text import shown_text


class _Commands(TyperGroup):
    """The commands; of one that `populace experiment` has it says where that is."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands and args[0] in experiment.NAMES:
            ctx.fail(f"No such command '{args[0]}': it is `populace experiment {args[0]}`.")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="populace",
    cls=_Commands,
    help="Societies of LLM-driven agents: run them, measure them, trust them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _command in (
    run.run, resume.resume, replay.replay, fork.fork, diff.diff, estimate.estimate, scale.scale, costs.costs, runs.runs,
    survey.survey, interview.interview,
    watch.watch, dashboards.dashboards, export.export, new.new, doctor.doctor, scenarios.scenarios,
):  # fmt: skip
    app.command()(_command)
app.add_typer(experiment.group)


def command() -> None:
    """Run the command line; an error of populace's own is one clear message and its exit code."""
    guard_streams()
    try:
        app()
    except PopulaceError as error:
        said = "\n".join((f"populace: {error}", *getattr(error, "__notes__", ())))
        sys.stderr.write(shown_text(said) + "\n")
        sys.exit(error.exit_code)
    except MemoryError:
        sys.stderr.write(
            "populace: this machine has no memory left for it. Run fewer agents, or raise the limit (ulimit -v). What "
            "a run had committed is saved.\n"
        )
        sys.exit(1)
