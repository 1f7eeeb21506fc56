"""`populace survey`."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from populace.cli.shown import QUIET, watched
from populace.cli.trust import trusted


def survey(
    run: Annotated[str, typer.Argument(help="The run's folder.")],
    instrument: Annotated[
        str | None, typer.Option(help="One that ships (cesd), or a TOML file; without it, the surveys asked so far.")
    ] = None,
    at_tick: Annotated[
        list[int] | None, typer.Option(help="Ask before this tick; repeatable, a wave each. Default: the run's end.")
    ] = None,
    sample: Annotated[
        str | None, typer.Option(help="Who is asked: a share (0.1), a number (50), or ids (3,7). Default: all.")
    ] = None,
    name: Annotated[str, typer.Option(help="What its table is called; default: the instrument's name.")] = "",
    type_: Annotated[str | None, typer.Option("--type", help="Only agents of this type.")] = None,
    shuffle: Annotated[bool, typer.Option(help="Show options in an order drawn for each agent and item.")] = False,
    weight: Annotated[str | None, typer.Option(help="A field of the agents that holds their weights.")] = None,
    together: Annotated[bool, typer.Option(help="Ask all items in one question.")] = False,
    model: Annotated[str | None, typer.Option(help="embedded, openai, rules or scripted; default: the run's.")] = None,
    model_role: Annotated[str, typer.Option(help="Which model role answers.")] = "",
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting for the asking, key=value.")] = None,
    code: Annotated[str, typer.Option(help="new: the scenario's code as it is now; recorded: the run's.")] = "new",
    trust: Annotated[bool, typer.Option(help="Run the code of a run that was not made here by you.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET)] = False,
) -> None:
    """Ask a survey of a run's agents as they stood before a tick, without a trace in the run."""
    from populace.agents.probes.survey import Survey
    from populace.core.text import shown_text
    from populace.runs.probing import survey_run
    from populace.runs.result import Run

    if instrument is None:
        found = Run(run)
        for one in found.surveys:
            sys.stdout.write(f"{shown_text(found.survey(one).text())}\n")
        if not found.surveys:
            sys.stdout.write(f"no survey was asked yet: populace survey {run} --instrument cesd --at-tick 0\n")
        return
    with watched(quiet=quiet) as observers:
        wanted = Survey(instrument, (), sample_of(sample), name, type_, shuffle, weight, together, model_role)
        asked = survey_run(
            run, wanted, at_tick or None, set_ or (), code=code_of(code), trust=trusted(run, "survey", trust),
            observers=observers, model__kind=model,
        )  # fmt: skip
    sys.stdout.write(f"{shown_text(asked.text())}\n{asked.cost()}\ntable: {asked.path}\n")


def sample_of(text: str | None) -> float | int | list[int] | None:
    """A sample as an option has it. Raises SettingsError."""
    from populace.core.errors import SettingsError

    if text is None:
        return None
    try:
        if "," in text:
            return [int(one) for one in text.split(",") if one.strip()]
        return float(text) if "." in text else int(text)
    except ValueError:
        raise SettingsError(f"--sample {text}: is a share (0.1), a number of agents (50), or ids (3,7)") from None


def code_of(text: str) -> Literal["recorded", "new"]:
    """Which code of the scenario is meant. Raises SettingsError."""
    from populace.core.errors import SettingsError

    if text not in ("recorded", "new"):
        raise SettingsError(f"--code {text}: is recorded (the code that the run was begun with) or new (as it is now)")
    return "recorded" if text == "recorded" else "new"
