"""`populace resume`."""

from __future__ import annotations

from typing import Annotated

import typer

from populace.cli.shown import Shown


def resume(
    run: Annotated[str, typer.Argument(help="The run's folder, or its address (s3://...).")],
    shards: Annotated[int | None, typer.Option(help="How many shards; any number gives the same result.")] = None,
    transport: Annotated[str | None, typer.Option(help="local (this process) or ray.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting, key=value; may be repeated.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Serve Prometheus metrics on this loopback port.")] = None,
    anyway: Annotated[bool, typer.Option(help="Go on although the scenario's code has changed.")] = False,
    salvage: Annotated[
        bool, typer.Option(help="Go on without what a damaged journal has lost, and say what that is.")
    ] = False,
) -> None:
    """Go on with a run that ended early, however it ended; no answer is paid for twice."""
    from populace.runs.resume import resume_run

    with Shown(resumed=True) as shown:
        resume_run(
            run, set_ or (), anyway=anyway, salvage=salvage, shards=shards, transport=transport,
            metrics_port=metrics_port, **shown.ways,
        )  # fmt: skip
