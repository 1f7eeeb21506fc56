"""`populace experiment seal`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def seal(
    folder: Annotated[Path, typer.Argument(help="The experiment's folder; all its runs have ended.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The archive to write, such as study.zip.")],
    author: Annotated[str | None, typer.Option(help="Who vouches for it; default: your name on this machine.")] = None,
) -> None:
    """Put an experiment into one archive, from which anybody can recompute it without a key.

    It holds code, design, settings, seeds, the model's answers, hashes and figures, and the checksum of each. The
    digest that is printed stands for all of it: publish it, and nobody can exchange the study for another.
    """
    from populace.experiments.sealing.packing import seal as seal_experiment
    from populace.experiments.sealing.shown import seal_text

    sealed = seal_experiment(folder, out, author=author)
    sys.stdout.write(seal_text(sealed))
    sys.stdout.write(f"{out}: {len(sealed.members) + 1:,} members, {out.stat().st_size:,} bytes\n")
