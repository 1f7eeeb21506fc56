"""`populace experiment report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def report(
    folder: Annotated[Path, typer.Argument(help="The experiment's folder.")],
    out: Annotated[Path | None, typer.Option(help="Another folder for the report; default: the experiment's.")] = None,
    level: Annotated[float, typer.Option(min=0.5, max=0.999, help="The chance that an interval covers.")] = 0.95,
) -> None:
    """Write report.html, report.md and their figures: what an experiment found, for whom it holds, how sure it is.

    The first lines say so; they stand on the screen too.
    """
    from populace.core.text import shown_line
    from populace.experiments.report.made import PAGE, write_report
    from populace.experiments.results import Results

    document = write_report(Results(folder), out, level)
    for one in document.leads:
        sys.stdout.write(f"{shown_line(one.text)}\n")
    sys.stdout.write(f"{folder if out is None else out}/{PAGE}\n")
