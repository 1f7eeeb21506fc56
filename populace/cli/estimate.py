"""`populace estimate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

import msgspec
import typer

from populace.cli.printing import print_rows
from populace.cli.shown import QUIET, watched
from populace.monitoring.pace import counted, duration_text
from populace.monitoring.progress import money
from populace.settings import load_settings

if TYPE_CHECKING:
    from populace.runs.estimate import Expected
    from populace.runs.prediction import Interval


def estimate(
    scenario: Annotated[str, typer.Argument(help="A scenario's name, a module, or a path ending in .py.")],
    agents: Annotated[int | None, typer.Option(help="How many agents the run is to have.")] = None,
    ticks: Annotated[int | None, typer.Option(help="How many ticks it is to have.")] = None,
    model: Annotated[str | None, typer.Option(help="embedded, openai, rules or scripted.")] = None,
    seed: Annotated[int | None, typer.Option(help="The run's seed.")] = None,
    shards: Annotated[int | None, typer.Option(help="How many shards it is to have.")] = None,
    settings: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting, key=value; may be repeated.")] = None,
    pilot_agents: Annotated[int, typer.Option(help="How many agents the pilot has.")] = 20,
    pilot_ticks: Annotated[int, typer.Option(help="How many ticks the pilot has.")] = 6,
    scripted: Annotated[bool, typer.Option("--scripted", help="Script the pilot's answers: it costs nothing.")] = False,
    confidence: Annotated[float, typer.Option(help="How often the intervals are to hold.")] = 0.9,
    out: Annotated[Path | None, typer.Option(help="Keep the pilot's folder here; else it goes.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET)] = False,
) -> None:
    """Say from a small pilot what a run will come to: calls, tokens, money and time, each with an interval."""
    from populace.data.societies import find_society
    from populace.runs.estimate import expect
    from populace.store.place import check_new

    options = {"agents": agents, "ticks": ticks, "model__kind": model, "seed": seed, "shards": shards}
    chosen = load_settings(settings, set_ or (), **options)
    if out is not None:
        check_new(out)
    with watched(quiet=quiet) as observers:
        expected = expect(
            find_society(scenario), chosen, agents=pilot_agents, ticks=pilot_ticks, scripted=scripted,
            confidence=confidence, out=out, observers=observers,
        )  # fmt: skip
    print_expected(expected, sys.stdout)


_FIGURES: Final = {"calls": "calls", "tokens_in": "tokens in", "tokens_out": "tokens out", "usd": "cost"}


def print_expected(expected: Expected, stream: TextIO) -> None:
    """Print it: on a terminal a table, and what to know before believing it; else a line of JSON for each figure."""
    from populace.runs.prediction import part_name

    guess = expected.estimate
    rows = [_row(name, "", "", getattr(guess, name)) for name in (*_FIGURES, "wall_s")]
    parts = [(name, part) for name, part in guess.purposes.items() if len(guess.purposes) > 1]
    rows += [
        _row(figure, name.removesuffix(part_name("", part.model_role)), part.model_role, getattr(part, figure))
        for name, part in parts
        for figure in _FIGURES
    ]
    if not stream.isatty():
        pilot = expected.pilot
        about: dict[str, Any] = {name: getattr(expected, name) for name in ("scenario", "model", "agents", "ticks")}
        about |= {"pilot_agents": pilot.agents, "pilot_ticks": pilot.ticks, "pilot_scripted": pilot.scripted}
        about |= {"pilot_cost_usd": pilot.cost_usd, "confidence": guess.confidence, "bottleneck": guess.bottleneck}
        about |= {"method": guess.method, "notes": expected.notes}
        if expected.probes is not None:
            about["probes"] = msgspec.to_builtins(expected.probes)
        lines = [{"event": "estimate", **about}, *({"event": "figure", **row} for row in rows)]
        print_rows(stream, {}, lines, _text)
        return
    pilot = expected.pilot
    how = "scripted, at no cost" if pilot.scripted else f"with the model, at {money(pilot.cost_usd)}"
    stream.write(
        f"{expected.scenario}, {counted(expected.agents, 'agent')}, {counted(expected.ticks, 'tick')}, "
        f"model {expected.model}, by a pilot of {counted(pilot.agents, 'agent')} "
        f"and {counted(pilot.ticks, 'tick')} ({how}):\n\n"
    )
    headings = {"figure": "", "purpose": "purpose"}
    if any(row["model_role"] for row in rows):
        headings["model_role"] = "role"
    headings |= {"low": "at least", "mid": "expected", "high": "at most"}
    shown = [{**row, **{end: _text(str(row["figure"]), row[end]) for end in ("low", "mid", "high")}} for row in rows]
    for row in shown:
        row["figure"] = {**_FIGURES, "wall_s": "wall time"}[str(row["figure"])]
    print_rows(stream, headings, shown, lambda _, value: str(value), right=("low", "mid", "high"))
    stream.write(f"\nTime is bounded by: {guess.bottleneck}. {guess.method[:1].upper()}{guess.method[1:]}.\n")
    if expected.probes is not None:
        stream.write(f"\n{expected.probes.text()}\n")
    stream.writelines(f"\n{note}\n" for note in expected.notes)
    stream.flush()


def _row(figure: str, purpose: str, model_role: str, interval: Interval) -> dict[str, Any]:
    ends = {"low": interval.low, "mid": interval.mid, "high": interval.high}
    return {"figure": figure, "purpose": purpose, "model_role": model_role, **ends}


def _text(figure: str, value: float) -> str:
    if figure == "usd":
        return money(value)
    return duration_text(value) if figure == "wall_s" else f"{value:,.0f}"
