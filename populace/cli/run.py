"""`populace run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from populace.cli.shown import QUIET, Shown
from populace.settings import load_settings, with_levers


def run(
    scenario: Annotated[str, typer.Argument(help="A scenario's name, a module, or a path ending in .py.")],
    agents: Annotated[int | None, typer.Option(help="How many agents.")] = None,
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
    lever: Annotated[
        list[str] | None, typer.Option(help="A lever, such as 'at=3, block={sender=[1]}'; may be repeated.")
    ] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Serve Prometheus metrics on this loopback port.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET)] = False,
) -> None:
    """Run a society and leave its tables and its manifest in --out."""
    from populace.runs.run import run_society

    chosen = load_settings(
        settings,
        set_ or (),
        agents=agents,
        ticks=ticks,
        model__kind=model,
        seed=seed,
        shards=shards,
        transport=transport,
        metrics_port=metrics_port,
    )
    chosen = with_levers(chosen, lever or ())
    with Shown(quiet=quiet) as shown:
        run_society(scenario, chosen, out, **shown.ways)
