"""`populace experiment audit`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from populace.cli.experiment.shown import conducted
from populace.cli.shown import QUIET


def audit(
    experiment: Annotated[Path, typer.Argument(help="The folder of an experiment that has been run.")],
    only: Annotated[list[str] | None, typer.Option(help="An audit by its name; may be repeated.")] = None,
    also: Annotated[
        list[str] | None, typer.Option(help="A perturbation of a setting or a parameter, key=value; may be repeated.")
    ] = None,
    arm: Annotated[list[str] | None, typer.Option(help="The arm of a claim; default: all but the control.")] = None,
    outcome: Annotated[str, typer.Option(help="The outcome of the claims; default: the primary one.")] = "",
    replicates: Annotated[int | None, typer.Option(min=1, help="At most so many; default: all.")] = None,
    margin: Annotated[float, typer.Option(min=0.0, help="What difference does not matter (outcomes with bounds).")] = 0,
    level: Annotated[float, typer.Option(min=0.5, max=0.999, help="Of the confidence sequences.")] = 0.95,
    out: Annotated[Path | None, typer.Option(help="Another folder for audits.json and the runs.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs side by side; default: as experiment run.")] = None,
    anyway: Annotated[bool, typer.Option(help="Play although the replicates are too few to decide.")] = False,
    trust: Annotated[bool, typer.Option(help="Run the code of an experiment that was not made here by you.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET)] = False,
) -> None:
    """Play an experiment under perturbations and negative controls, and say which of its claims hold in them.

    Each audit is forked from the experiment's runs, pays only for asks that change, and ends once it is decided; audits
    go on side by side.
    """
    from populace.experiments.audits.auditing import audit as audit_experiment
    from populace.experiments.audits.shown import as_text
    from populace.experiments.front import jobs_for
    from populace.experiments.trust import check_trusted

    check_trusted(experiment, trust=trust)
    with conducted(sys.stderr, quiet=quiet, again=shlex.join(["populace", *sys.argv[1:]])) as (display, stop):
        found = audit_experiment(
            experiment, only=only or (), also=also or (), arms=arm or (), outcome=outcome, replicates=replicates,
            margin=margin, level=level, out=out, anyway=anyway, note=display.note, watcher=display,
            jobs=jobs_for(experiment, jobs), stop=stop,
        )  # fmt: skip
    sys.stdout.write(as_text(found))
