"""`populace experiment power`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def power(
    folder: Annotated[Path, typer.Argument(help="The folder of an experiment that serves as the pilot.")],
    outcome: Annotated[str, typer.Option(help="The outcome.")],
    effect: Annotated[float, typer.Option(help="The smallest difference that matters, in the outcome's unit.")],
    arm: Annotated[str | None, typer.Option(help="One arm; default: each but the control.")] = None,
    chance: Annotated[float, typer.Option("--power", help="The chance of finding it that is wanted.")] = 0.8,
    level: Annotated[float, typer.Option(help="1 less the chance of a false claim.")] = 0.95,
    tests: Annotated[
        int | None, typer.Option(min=1, help="How many comparisons; default: the design's arms times outcomes.")
    ] = None,
) -> None:
    """Say how many replicates an effect of that size needs, from how much the pairs of a pilot differ.

    The effect is the smallest that matters, and not the one that the pilot found.
    """
    from populace.experiments.pilot import plan_from, told
    from populace.experiments.results import Results

    plans = plan_from(Results(folder), outcome, effect, arm=arm, power=chance, level=level, tests=tests)
    sys.stdout.write("\n\n".join(told(plan) for plan in plans) + "\n")
