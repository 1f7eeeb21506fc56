"""`populace experiment audit`."""

from __future__ import annotations

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
    sensitivity: Annotated[
        list[str] | None,
        typer.Option(help="Instead: vary a parameter, NAME=low:high; may be repeated. With one --arm: its effect."),
    ] = None,
    method: Annotated[str, typer.Option(help="Of --sensitivity: morris (few runs) or sobol.")] = "morris",
    samples: Annotated[int, typer.Option(min=2, help="Of --sensitivity: trajectories, or Sobol's base samples.")] = 8,
    out: Annotated[Path | None, typer.Option(help="Another folder for audits.json and the runs.")] = None,
    anyway: Annotated[bool, typer.Option(help="Play although the replicates are too few to decide.")] = False,
    trust: Annotated[bool, typer.Option(help="Run the code of an experiment that was not made here by you.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET)] = False,
) -> None:
    """Play an experiment under perturbations and negative controls, and say which of its claims hold in them.

    Each audit is forked from the experiment's runs, pays only for asks that change, and ends once it is decided.
    """
    from populace.experiments.audits.auditing import audit as audit_experiment
    from populace.experiments.audits.points import ranges_of, sensitivity_of
    from populace.experiments.audits.shown import as_text, sensitivity_text
    from populace.experiments.trust import check_trusted

    check_trusted(experiment, trust=trust)
    if sensitivity:
        with conducted(sys.stderr, quiet=quiet) as (_, stop):
            sensed = sensitivity_of(
                experiment, ranges_of(sensitivity), outcome=outcome, arm=(arm or [""])[0], method=method,
                samples=samples, replicates=replicates or 1, stop=stop,
            )  # fmt: skip
        sys.stdout.write(sensitivity_text(sensed))
        return
    with conducted(sys.stderr, quiet=quiet) as (display, stop):
        found = audit_experiment(
            experiment, only=only or (), also=also or (), arms=arm or (), outcome=outcome, replicates=replicates,
            margin=margin, level=level, out=out, anyway=anyway, note=display.note,
            stop=stop,
        )  # fmt: skip
    sys.stdout.write(as_text(found))
