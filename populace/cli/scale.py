"""`populace scale`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from populace.cli.shown import QUIET
from populace.core.errors import SettingsError

_ASSUMED = "What the run that is projected would"


def scale(
    society: Annotated[str, typer.Argument(help="A scenario, a file or a module, as in `run`.")],
    out: Annotated[Path, typer.Option(help="The study's folder: its runs, scaling.json, report.md and scaling.svg.")],
    agents: Annotated[str, typer.Option(help="Sizes, with commas: 1e3,1e4.")] = "1000,10000",
    shards: Annotated[str, typer.Option(help="Numbers of shards, with commas.")] = "1",
    repeat: Annotated[int, typer.Option(min=1, help="How often each is run.")] = 3,
    ticks: Annotated[int | None, typer.Option(min=2, help="Ticks of each run; the first is not timed.")] = None,
    model: Annotated[str | None, typer.Option(help="embedded, openai, rules or scripted.")] = None,
    transport: Annotated[str | None, typer.Option(help="local or ray.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting, key=value; may be repeated.")] = None,
    to_agents: Annotated[str, typer.Option(help=f"{_ASSUMED} have: agents.")] = "1000000",
    to_cores: Annotated[int, typer.Option(min=1, help=f"{_ASSUMED} have: processors, a shard each.")] = 64,
    to_ticks: Annotated[int, typer.Option(min=1, help=f"{_ASSUMED} have: ticks.")] = 100,
    asks_per_s: Annotated[float, typer.Option(min=0.0, help="Asks a second its model answers; 0: no model.")] = 0.0,
    usd_per_core_hour: Annotated[float, typer.Option(min=0.0, help="What a processor costs.")] = 0.05,
    usd_per_model_hour: Annotated[float, typer.Option(min=0.0, help="What the model's server costs.")] = 0.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET)] = False,
) -> None:
    """Measure what a society costs as agents and shards grow, and project a larger run.

    Runs one cell at a time, under one budget; given again, it goes on where it was.
    """
    from populace.experiments.scaling.cells import sizes_of
    from populace.experiments.scaling.report import Assumed, report, write_report
    from populace.experiments.scaling.study import scale as study_of

    def say(text: str) -> None:
        if not quiet:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    options = {"ticks": ticks, "model__kind": model, "transport": transport}
    sizes, counts = sizes_of(agents), sizes_of(shards)
    (to, *more) = sizes_of(to_agents)
    if more or to < 1:
        raise SettingsError(f"--to-agents: {to_agents!r} is no number of agents: give one, at least 1")
    assumed = Assumed(to, to_cores, to_ticks, asks_per_s, usd_per_core_hour, usd_per_model_hour)
    study = study_of(
        society,
        out,
        agents=sizes,
        shards=counts,
        repeats=repeat,
        set_=set_ or (),
        say=say,
        **{name: value for name, value in options.items() if value is not None},
    )
    for path in write_report(study, assumed, out):
        say(f"written: {path}")
    sys.stdout.write(report(study, assumed))
