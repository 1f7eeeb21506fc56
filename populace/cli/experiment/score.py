"""`populace experiment score`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from populace.cli.shown import QUIET, Shown
from populace.core.errors import SettingsError
from populace.settings import load_settings


def score(
    study: Annotated[str, typer.Argument(help="What people answered: anes (the American election study of 1996).")],
    out: Annotated[Path, typer.Option(help="A folder: the run in it, score.md and score.json.")],
    respondents: Annotated[int, typer.Option(min=20, max=944, help="How many respondents are answered for.")] = 100,
    model: Annotated[str | None, typer.Option(help="embedded, openai, rules or scripted.")] = None,
    settings: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting, key=value; may be repeated.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET)] = False,
) -> None:
    """Have a model answer as respondents of a survey whose answers are held out, and score it against them.

    The answers are an ordinary run in OUT/run: given again, the command goes on with it, or scores what is there.
    """
    from populace.experiments.score.anes import SOCIETY, score_anes
    from populace.experiments.score.shown import as_data, as_text
    from populace.runs.once import run_or_resume

    if study != SOCIETY:
        raise SettingsError(f"{study!r} is no study to score against; there is {SOCIETY}")
    chosen = load_settings(settings, set_ or (), agents=respondents, model__kind=model)
    with Shown(quiet=quiet, resumed=True) as shown:
        manifest = run_or_resume(SOCIETY, chosen, out / "run", **shown.ways)
        shown.of(manifest)
    card = score_anes(out / "run")
    text = f"Answers of {respondents} respondents by {manifest['model']}.\n\n{as_text(card)}"
    (out / "score.md").write_text(text, encoding="utf-8")
    (out / "score.json").write_bytes(msgspec.json.format(msgspec.json.encode(as_data(card))) + b"\n")
    sys.stdout.write(text)
