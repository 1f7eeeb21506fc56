"""`populace run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from populace.cli.shown import QUIET, Shown
from populace.core.errors import SettingsError
from populace.settings import load_settings, with_levers
from populace.settings.minds import switched


def run(
    scenario: Annotated[str, typer.Argument(help="A scenario's name, a module, or a path ending in .py.")],
    agents: Annotated[int | None, typer.Option(help="How many agents.")] = None,
    until_interactions: Annotated[
        int | None, typer.Option(help="End once so many messages were delivered and actions applied, at a tick's end.")
    ] = None,
    ticks: Annotated[int | None, typer.Option(help="How many ticks.")] = None,
    model: Annotated[str | None, typer.Option(help="embedded, openai, rules or scripted.")] = None,
    seed: Annotated[int | None, typer.Option(help="The run's seed.")] = None,
    shards: Annotated[int | None, typer.Option(help="How many shards; the result is the same on any number.")] = None,
    transport: Annotated[str | None, typer.Option(help="local (this process) or ray.")] = None,
    out: Annotated[
        str | None, typer.Option(help="The run's folder, or s3://bucket/folder; default: a new folder in runs/.")
    ] = None,
    settings: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting, key=value; may be repeated.")] = None,
    mind: Annotated[
        list[str] | None,
        typer.Option(help="What answers a type of agents: voter=rules, or voter.PURPOSE=rules; may be repeated."),
    ] = None,
    lever: Annotated[
        list[str] | None, typer.Option(help="A lever, such as 'at=3, block={sender=[1]}'; may be repeated.")
    ] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Serve Prometheus metrics on this loopback port.")] = None,
    log: Annotated[str | None, typer.Option(help="Write a log in lines of JSON to this file.")] = None,
    or_resume: Annotated[
        bool,
        typer.Option(
            "--or-resume", help="Go on with the run that stands in --out; one that is complete is left alone."
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET)] = False,
) -> None:
    """Run a society and leave its tables and its manifest in --out.

    With --or-resume the same command can be given again and again, by a person or by what restarts a job: it begins the
    run, goes on with it, or says that it is complete.
    """
    from populace.runs.once import run_or_resume
    from populace.runs.run import run_society

    if or_resume and out is None:
        raise SettingsError("--or-resume: needs --out, the folder or address that the run is to be found in again")
    chosen = load_settings(
        settings,
        [*(set_ or ()), *map(switched, mind or ())],
        agents=agents,
        ticks=ticks,
        until_interactions=until_interactions,
        model__kind=model,
        seed=seed,
        shards=shards,
        transport=transport,
        metrics_port=metrics_port,
        log__file=log,
    )
    chosen = with_levers(chosen, lever or ())
    with Shown(quiet=quiet, resumed=or_resume) as shown:
        if or_resume and out is not None:
            shown.of(run_or_resume(scenario, chosen, out, **shown.ways))
        else:
            run_society(scenario, chosen, out, **shown.ways)
