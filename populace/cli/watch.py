"""`populace watch`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from populace.page.server import Page
    from populace.runs.watching import Sight

_BARS: Final = "▁▂▃▄▅▆▇█"
_WIDTH: Final = 60


def watch(
    run: Annotated[str, typer.Argument(help="The folder of a run, of an experiment, or of runs; or a run's address.")],
    page: Annotated[
        bool | None,
        typer.Option(
            "--page/--plain",
            help="A page for a browser, or lines here. Without either: the page on a terminal or with "
            "--port, --name or --control, lines elsewhere.",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="The page's port; 0 for a free one. By default 8642, or a free one."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Where the page listens; by default only this machine reaches it.")
    ] = "127.0.0.1",
    name: Annotated[
        list[str] | None, typer.Option(help="Another name by which browsers may call the page, behind a proxy.")
    ] = None,
    control: Annotated[
        bool,
        typer.Option(
            "--control", help="Let who has the printed address pause and end runs, interview agents, begin forks."
        ),
    ] = False,
    every_s: Annotated[float, typer.Option(min=0.1, help="How often --plain looks, in seconds.")] = 2.0,
) -> None:
    """Watch a run, or the runs in a folder, at work or ended: a page for a browser, from what they leave on the disk.

    The page is served until Ctrl-C, changes nothing, and can be begun again at any time. With --control its address has
    a token, printed once, by which runs can be controlled too. With --plain: how far a run is
    and its outcomes until it ends; without a terminal that is a line of JSON whenever it has come further. To end the
    watching leaves runs alone. The exit code of --plain is 0 where the run is complete, else 1.
    """
    if control and page is False:
        raise typer.BadParameter("it is the page that controls: leave out --plain", param_hint="--control")
    from populace.store.remote.mirror import SHOWN, local_folder

    place = local_folder(run, SHOWN)
    if page if page is not None else control or port is not None or bool(name) or sys.stdout.isatty():
        _serve(place, host, port, name or [], control)
    else:
        _follow(place, every_s)


def _serve(place: Path, host: str, port: int | None, names: list[str], control: bool) -> None:
    import asyncio

    import pyarrow as pa

    from populace.core.errors import SettingsError
    from populace.core.text import shown_line
    from populace.page.control import Control
    from populace.page.server import PORT, Page, serve
    from populace.page.shelf import Shelf

    shelf = Shelf(place)
    controls = Control(shelf) if control else None
    pa.set_memory_pool(pa.system_memory_pool())  # which gives back at once what a view has read

    def started(page: Page) -> None:
        sys.stdout.write(f"{shown_line(str(place))}: {page.address}\n")
        sys.stdout.flush()
        sys.stderr.write("populace: the page is served until Ctrl-C, which leaves runs alone\n")

    try:
        try:
            asyncio.run(serve(Page(shelf, host, PORT if port is None else port, names, controls), started))
        except SettingsError:
            if port is not None:
                raise
            asyncio.run(serve(Page(shelf, host, 0, names, controls), started))
    except KeyboardInterrupt:
        sys.stderr.write(f"populace: {shown_line(str(place))} is watched no more; it is left as it is\n")
        raise typer.Exit(130) from None


def _follow(run: Path, every_s: float) -> None:
    from rich.console import Console
    from rich.live import Live

    from populace.experiments.design import is_experiment
    from populace.runs.result import Run
    from populace.runs.watching import sight_of

    if is_experiment(run):
        from populace.cli.experiment.watched import watch_experiment

        watch_experiment(run, every_s)
        return

    def sights() -> Iterator[Sight]:
        watched = Run(run)
        while True:
            seen = sight_of(watched)
            yield seen
            if not seen.at_work:
                return
            time.sleep(every_s)

    told = None
    try:
        if sys.stdout.isatty():
            with Live(console=Console(), auto_refresh=False) as live:
                for sight in sights():
                    live.update(_drawn(str(run), sight), refresh=True)
        else:
            for sight in sights():
                if (sight.status, sight.tick) != told:
                    told = sight.status, sight.tick
                    _say(sight)
    except KeyboardInterrupt:
        sys.stderr.write(f"populace: {run} is watched no more; it is left as it is\n")
        raise typer.Exit(130) from None
    if sight.status != "complete":
        raise typer.Exit(1)


def _say(sight: Sight) -> None:
    import msgspec

    last = {name: values[-1] for name, values in sight.outcomes.items() if values}
    line = {"status": sight.status, "tick": sight.tick, "ticks": sight.ticks, "outcomes": last}
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()


def _drawn(name: str, sight: Sight) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table("outcome", "first", "last", "by tick", title=Text(_headline(name, sight)), title_justify="left")
    for outcome, values in sight.outcomes.items():
        table.add_row(Text(outcome), f"{values[0]:.4g}", f"{values[-1]:.4g}", sparkline(values))
    return table


def _headline(name: str, sight: Sight) -> str:
    return f"{name}: {sight.status}, tick {sight.tick:,} of {sight.ticks:,}"


def sparkline(values: list[float]) -> str:
    """The values as a row of bars, at most 60, each the last of those that it stands for; a blank for no number."""
    if len(values) > _WIDTH:
        values = [values[(at + 1) * len(values) // _WIDTH - 1] for at in range(_WIDTH)]
    finite = [value for value in values if abs(value) < float("inf")]
    low, span = min(finite, default=0.0), max(finite, default=0.0) - min(finite, default=0.0)
    bars = [
        _BARS[int((value - low) / span * (len(_BARS) - 1) + 0.5) if span else 0] if abs(value) < float("inf") else " "
        for value in values
    ]
    return "".join(bars)
