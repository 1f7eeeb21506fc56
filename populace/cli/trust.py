"""Asks a person whether the code of a run that was not made here may run."""

from __future__ import annotations

import sys

import typer


def trusted(run: str, what: str, trust: bool) -> bool:  # as it stands on the command line
    """Whether the run is to be trusted: as was said, or as a person at a terminal answers where there is a question."""
    from populace.core.errors import Untrusted
    from populace.store.remote.mirror import local_folder
    from populace.store.trust import check_trust

    if trust or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return trust
    try:
        check_trust(local_folder(run, ("run.json",)), what, named=run)
    except Untrusted as error:
        typer.echo(str(error), err=True)
        return typer.confirm("Trust it?", err=True)
    return False
