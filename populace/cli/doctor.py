"""`populace doctor`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from populace.settings import load_settings


def doctor(
    settings: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting, key=value; may be repeated.")] = None,
    model: Annotated[str | None, typer.Option(help="embedded, openai, rules or scripted.")] = None,
) -> None:
    """Check Python, Ray, the model and the disk, and say what to do.

    With --model openai the endpoint is asked one thing of each kind, which is billed, to see what it can do.
    """
    from populace.cli.examine import examine

    chosen = load_settings(settings, set_ or (), model__kind=model)
    findings = asyncio.run(examine(chosen, ask=model is not None))
    console = Console(highlight=False)
    for finding in findings:
        mark = "[green]ok[/]   " if finding.good else "[red]wrong[/]"
        console.print(f"{mark} {finding.what}: ", end="")
        console.print(finding.found, markup=False)
        if finding.remedy:
            console.print(f"      → {finding.remedy}", markup=False)
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)
