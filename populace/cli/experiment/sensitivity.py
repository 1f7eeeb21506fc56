"""`populace experiment sensitivity`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from populace.cli.experiment.shown import conducted
from populace.cli.shown import QUIET


def sensitivity(
    experiment: Annotated[Path, typer.Argument(help="The folder of an experiment that has been run.")],
    vary: Annotated[list[str], typer.Option(help="A parameter and its range, NAME=low:high; may be repeated.")],
    arm: Annotated[str, typer.Option(help="Of this arm's effect; default: of the control's outcome.")] = "",
    outcome: Annotated[str, typer.Option(help="The outcome; default: the primary one.")] = "",
    method: Annotated[str, typer.Option(help="morris (few runs) or sobol.")] = "morris",
    samples: Annotated[int, typer.Option(min=2, help="Trajectories, or Sobol's base samples.")] = 8,
    replicates: Annotated[int, typer.Option(min=1, help="Of the experiment's, at each point.")] = 1,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs side by side; default: as experiment run.")] = None,
    trust: Annotated[bool, typer.Option(help="Run the code of an experiment that was not made here by you.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET)] = False,
) -> None:
    """Say how much of an outcome goes by which of the society's parameters, by Morris or Sobol.

    The same seeds at every point, forked from the experiment's runs: what differs is the parameters.
    """
    from populace.experiments.audits.points import ranges_of, sensitivity_of
    from populace.experiments.audits.shown import sensitivity_text
    from populace.experiments.front import jobs_for
    from populace.experiments.trust import check_trusted

    check_trusted(experiment, trust=trust)
    with conducted(sys.stderr, quiet=quiet, again=shlex.join(["populace", *sys.argv[1:]])) as (display, stop):
        found = sensitivity_of(
            experiment, ranges_of(vary), method=method, samples=samples, outcome=outcome, arm=arm,
            replicates=replicates, jobs=jobs_for(experiment, jobs), watcher=display, stop=stop,
        )  # fmt: skip
    sys.stdout.write(sensitivity_text(found))
