"""`populace experiment run`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from populace.cli.experiment.shown import conducted
from populace.cli.shown import QUIET


def run(
    experiment: Annotated[str, typer.Argument(help="A file (path.py, path.py:name), a module, or a name that ships.")],
    out: Annotated[Path, typer.Option(help="The experiment's folder.")],
    replicates: Annotated[int | None, typer.Option(min=1, help="How many replicates.")] = None,
    model: Annotated[str | None, typer.Option(help="embedded, openai, rules or scripted.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting, key=value; may be repeated.")] = None,
    until: Annotated[
        str | None,
        typer.Option(help="Go on in batches until clear, width=0.1 or margin=0.05 (batch=10); --replicates at most."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs side by side; default: one a processor, one with embedded.")
    ] = None,
    dry: Annotated[bool, typer.Option(help="Play all arms first on a mind that costs nothing.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET)] = False,
) -> None:
    """Play all arms and replicates of an experiment, or go on with it where it stands in --out.

    The arms of a replicate share their past up to the treatment, and pay only for asks that change after it.
    """
    from populace.experiments.front import begin
    from populace.experiments.loading import find_experiment

    declared = find_experiment(experiment)
    with conducted(sys.stderr, quiet=quiet) as (display, stop):
        results = begin(
            declared, out, set_ or (), display, stop, replicates=replicates, model=model, jobs=jobs, dry=dry,
            until=until,
        )  # fmt: skip
    sys.stdout.write(f"{results!r}\n")
