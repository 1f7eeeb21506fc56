"""`populace replay`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from populace.cli.shown import QUIET, watched
from populace.cli.trust import trusted


def replay(
    run: Annotated[str, typer.Argument(help="The run's folder, or its address (s3://...).")],
    shards: Annotated[int, typer.Option(help="How many shards; any number gives the same result.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Keep the recomputed tables here.")] = None,
    code: Annotated[
        str, typer.Option(help="new: the scenario's code as it is now; recorded: what the run was begun with.")
    ] = "new",
    trust: Annotated[bool, typer.Option(help="Run the code of a run that was not made here by you.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET)] = False,
) -> None:
    """Recompute a run from its journal with no call, by default with its code as it is now, and compare all hashes."""
    import tempfile

    from populace.core.errors import SettingsError
    from populace.runs.courses import replay_course
    from populace.runs.replay import replay_run
    from populace.store.place import check_new
    from populace.store.remote.mirror import RECORD, local_folder
    from populace.store.trust import check_trust

    if code not in ("recorded", "new"):
        raise SettingsError(f"--code {code}: is recorded (the code that the run was begun with) or new (as it is now)")
    if out is not None:
        check_new(out)
    folder = local_folder(run, (*RECORD, "asks.parquet"))
    check_trust(folder, "replay", trust=trusted(run, "replay", trust), named=run)
    going = replay_course(folder, shards=shards, code="recorded" if code == "recorded" else "new")
    with tempfile.TemporaryDirectory(prefix="populace-replay-") as place, watched(quiet=quiet) as observers:
        replayed = replay_run(going, folder, out or Path(place), observers)
    sys.stdout.write(replayed.text())
    if replayed.diverged is not None:
        raise typer.Exit(replayed.diverged.exit_code)
