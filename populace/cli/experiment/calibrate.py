"""`populace experiment calibrate`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from populace.cli.experiment.shown import conducted
from populace.cli.shown import QUIET


def calibrate(
    experiment: Annotated[Path, typer.Argument(help="The folder of an experiment that has been run.")],
    vary: Annotated[list[str], typer.Option(help="A parameter and its range, NAME=low:high; may be repeated.")],
    target: Annotated[str, typer.Option(help="A number, a CSV file with columns tick and value, or people:NAME.")],
    tolerance: Annotated[float, typer.Option(min=0.0, help="How far from the target still counts, in its unit.")],
    arm: Annotated[str, typer.Option(help="This arm's effect is to be it; default: the control's outcome.")] = "",
    outcome: Annotated[str, typer.Option(help="The outcome; default: the primary one.")] = "",
    draws: Annotated[int, typer.Option(min=4, help="How many points are tried.")] = 60,
    replicates: Annotated[int, typer.Option(min=1, help="Of the experiment's, at each point.")] = 1,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs side by side; default: as experiment run.")] = None,
    trust: Annotated[bool, typer.Option(help="Run the code of an experiment that was not made here by you.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET)] = False,
) -> None:
    """Find the society's parameters at which an outcome, or an arm's effect, is a target, and say what stays open.

    A parameter whose values near the target span most of its range is not identified by it.
    """
    from populace.experiments.audits.points import calibration_of, ranges_of
    from populace.experiments.audits.targets import target_of
    from populace.experiments.front import jobs_for
    from populace.experiments.trust import check_trusted

    check_trusted(experiment, trust=trust)
    with conducted(sys.stderr, quiet=quiet, again=shlex.join(["populace", *sys.argv[1:]])) as (display, stop):
        found = calibration_of(
            experiment, ranges_of(vary), target_of(target), tolerance=tolerance, draws=draws, outcome=outcome, arm=arm,
            replicates=replicates, jobs=jobs_for(experiment, jobs), watcher=display, stop=stop,
        )  # fmt: skip
    sys.stdout.write(f"{found}\n")
