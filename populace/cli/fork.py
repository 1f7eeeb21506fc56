"""`populace fork`."""

from __future__ import annotations

from typing import Annotated

import typer

from populace.cli.shown import QUIET, Shown
from populace.cli.trust import trusted


def fork(
    run: Annotated[str, typer.Argument(help="The run to branch off from: its folder, or its address (s3://...).")],
    at_tick: Annotated[int, typer.Option(help="The tick before which the two part.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting, key=value; society.* changes from --at-tick on.")
    ] = None,
    lever: Annotated[
        list[str] | None, typer.Option(help="A lever from --at-tick on, such as 'block={sender=[1]}'; repeatable.")
    ] = None,
    until_interactions: Annotated[
        int | None, typer.Option(help="End once so many messages were delivered and actions applied, at a tick's end.")
    ] = None,
    ticks: Annotated[int | None, typer.Option(help="How many ticks in all.")] = None,
    shards: Annotated[int | None, typer.Option(help="How many shards; any number gives the same result.")] = None,
    transport: Annotated[str | None, typer.Option(help="local (this process) or ray.")] = None,
    out: Annotated[
        str | None, typer.Option(help="The fork's folder, or s3://bucket/folder; default: a new folder beside.")
    ] = None,
    salvage: Annotated[bool, typer.Option(help="Ask anew what the run's damaged journal has lost.")] = False,
    trust: Annotated[bool, typer.Option(help="Run the code of a run that was not made here by you.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET)] = False,
) -> None:
    """Branch a counterfactual off from a run: identical to a tick, then only what diverged is asked anew."""
    from populace.runs.fork import fork_run

    with Shown(quiet=quiet) as shown:
        fork_run(
            run, at_tick, set_ or (), lever or (), out, salvage=salvage, trust=trusted(run, "fork", trust),
            ticks=ticks, until_interactions=until_interactions, shards=shards, transport=transport, **shown.ways,
        )  # fmt: skip
