"""`populace resume`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from populace.cli.shown import QUIET, Shown
from populace.cli.trust import trusted
from populace.core.errors import SettingsError


def resume(
    run: Annotated[str, typer.Argument(help="The run's folder, or its address (s3://...); or an experiment's folder.")],
    shards: Annotated[int | None, typer.Option(help="How many shards; any number gives the same result.")] = None,
    transport: Annotated[str | None, typer.Option(help="local (this process) or ray.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting, key=value; may be repeated.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Serve Prometheus metrics on this loopback port.")] = None,
    log: Annotated[str | None, typer.Option(help="Write a log in lines of JSON to this file.")] = None,
    anyway: Annotated[bool, typer.Option(help="Go on although the scenario's code has changed.")] = False,
    code: Annotated[
        str, typer.Option(help="recorded, or new: fork where the code as it is now does something else, and go on.")
    ] = "recorded",
    out: Annotated[
        str | None, typer.Option(help="The folder for --code new, or s3://bucket/folder; default: one beside.")
    ] = None,
    salvage: Annotated[
        bool, typer.Option(help="Go on without what a damaged journal has lost, and say what that is.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="An experiment's runs side by side; default: as experiment run.")
    ] = None,
    trust: Annotated[bool, typer.Option(help="Run the code of a run that was not made here by you.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET)] = False,
) -> None:
    """Go on with a run that ended early, however it ended; no answer is paid for twice."""
    from populace.experiments.design import is_experiment
    from populace.runs.resume import resume_run, resume_with_new_code

    if is_experiment(run):
        if code != "recorded" or out is not None or salvage or anyway:
            raise SettingsError(f"{run}: is an experiment: it goes on as it was begun, by its recorded code")
        _resume_experiment(run, set_ or (), jobs=jobs, trust=trust, quiet=quiet)
        return
    if jobs is not None:
        raise SettingsError(f"{run}: is a run; --jobs is how many of an experiment's runs go side by side")
    if code not in ("recorded", "new"):
        raise SettingsError(f"--code {code}: is recorded (the code that the run was begun with) or new (as it is now)")
    if code == "new":
        with Shown(quiet=quiet) as shown:
            resume_with_new_code(
                run, set_ or (), out, salvage=salvage, trust=trusted(run, "resume", trust), shards=shards,
                transport=transport, metrics_port=metrics_port, log__file=log, **shown.ways,
            )  # fmt: skip
        return
    if out is not None:
        raise SettingsError("--out is for --code new, which goes on in a new folder; a run is resumed in its own")
    with Shown(resumed=True, quiet=quiet) as shown:
        resume_run(
            run, set_ or (), anyway=anyway, salvage=salvage, trust=trusted(run, "resume", trust), shards=shards,
            transport=transport, metrics_port=metrics_port, log__file=log, **shown.ways,
        )  # fmt: skip


def _resume_experiment(folder: str, assignments: Sequence[str], *, jobs: int | None, trust: bool, quiet: bool) -> None:
    """Go on with the experiment in a folder. Raises Untrusted where its code is somebody else's."""
    from populace.cli.experiment.shown import conducted
    from populace.experiments.front import go_on
    from populace.experiments.trust import check_trusted

    check_trusted(Path(folder), trust=trust)
    with conducted(sys.stderr, quiet=quiet) as (display, stop):
        results = go_on(Path(folder), display, stop, assignments=assignments, jobs=jobs)
    sys.stdout.write(f"{results!r}\n")
