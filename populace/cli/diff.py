"""`populace diff`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def diff(
    a: Annotated[str, typer.Argument(help="A run's folder, or its address (s3://...).")],
    b: Annotated[str, typer.Argument(help="The run to compare it with.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object, with every tick.")] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with 9, as a replay does, where they differ, if only in the world.")
    ] = False,
) -> None:
    """Say where two runs part, with both texts, whom it touched and what became of the outcomes."""
    import msgspec

    from populace.core.errors import Diverged
    from populace.core.text import shown_json
    from populace.runs.diff import diff_runs
    from populace.runs.diff_text import print_diff
    from populace.store.remote.mirror import RECORD, local_folder

    one, other = (local_folder(run, (*RECORD, "*.parquet")) for run in (a, b))
    found = msgspec.structs.replace(diff_runs(one, other), a=a, b=b)
    if json:
        sys.stdout.write(shown_json(msgspec.json.encode(found).decode()) + "\n")
    else:
        print_diff(found, sys.stdout)
    if exit_code and not found.identical:
        raise typer.Exit(Diverged.exit_code)
