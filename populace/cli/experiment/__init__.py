"""`populace experiment`: one file a subcommand, each a function that `group` takes."""

from __future__ import annotations

from typing import Final

import typer

from populace.cli.experiment.audit import audit
from populace.cli.experiment.calibrate import calibrate
from populace.cli.experiment.power import power
from populace.cli.experiment.report import report
from populace.cli.experiment.run import run
from populace.cli.experiment.score import score
from populace.cli.experiment.seal import seal
from populace.cli.experiment.sensitivity import sensitivity
from populace.cli.experiment.verify import verify

group = typer.Typer(
    name="experiment",
    help="Experiments: arms of a society over many replicates, and what they show.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
_COMMANDS: Final = (run, power, audit, sensitivity, calibrate, score, report, seal, verify)
NAMES: Final = frozenset(one.__name__ for one in _COMMANDS)
for _command in _COMMANDS:
    group.command()(_command)


@group.callback()
def _of_a_group() -> None:
    """Have typer treat a group of one command as a group."""
