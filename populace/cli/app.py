"""The command line, and the place where a run is put together."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from populace.core.errors import (
    ConservationError,
    Diverged,
    JournalDamaged,
    PopulaceError,
    ScenarioError,
    SettingsError,
)
from populace.settings import Settings, load_settings, with_levers

if TYPE_CHECKING:
    from populace.store.remote.mirror import Mirror

app = typer.Typer(
    name="populace",
    help="Societies of LLM-driven agents: run them, measure them, trust them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def run(
    scenario: Annotated[str, typer.Argument(help="A scenario's name, a module, or a path ending in .py.")],
    agents: Annotated[int | None, typer.Option(help="How many agents.")] = None,
    ticks: Annotated[int | None, typer.Option(help="How many ticks.")] = None,
    model: Annotated[str | None, typer.Option(help="embedded, openai or scripted.")] = None,
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
) -> None:
    """Run a society and leave its tables and its manifest in --out."""
    from populace.data.societies import find_society, load_society

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
    origin = find_society(scenario)
    with _place(out or str(_fresh_folder(load_society(origin).name)), new=True) as (folder, mirror):
        _run(origin, chosen, folder, mirror=mirror)


@contextmanager
def _place(place: str, *, new: bool) -> Iterator[tuple[Path, Mirror | None]]:
    """The folder to run in, and what uploads it where the place is a remote one; kept for one run at a time."""
    from populace.store.folder import read_run_file
    from populace.store.lock import held
    from populace.store.remote.mirror import Mirror, is_remote

    if not is_remote(place):
        if not new:
            read_run_file(Path(place))
        with held(Path(place)):
            if new:
                _refuse_used(Path(place))
            yield Path(place), None
        return
    with Mirror(place).held() as mirror:
        if new:
            mirror.begin()
        else:
            mirror.resume()
        yield mirror.local, mirror


def _refuse_used(folder: Path) -> None:
    for name in ("run.json", "manifest.json"):
        if (folder / name).exists():
            raise SettingsError(
                f"{folder}: holds a run already. Choose another folder with --out, or go on with that run: "
                f"populace resume {folder}"
            )


@app.command()
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
    from populace.runs.courses import resume_course

    with _place(run, new=False) as (folder, mirror):
        going = resume_course(
            folder, set_ or (), anyway=anyway, salvage=salvage, shards=shards, transport=transport,
            metrics_port=metrics_port,
        )  # fmt: skip
        _say(going.notes)
        _run(going.origin, going.settings, folder, going.course, mirror)


@app.command()
def replay(
    run: Annotated[str, typer.Argument(help="The run's folder, or its address (s3://...).")],
    shards: Annotated[int, typer.Option(help="How many shards; any number gives the same result.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Keep the recomputed tables here.")] = None,
) -> None:
    """Recompute a run from its journal with no call, with the code as it is now, and compare every trace hash."""
    import tempfile

    from populace.runs.courses import replay_course
    from populace.runs.replay import replay_run
    from populace.store.remote.mirror import RECORD, local_folder

    if out is not None:
        _refuse_used(out)
    folder = local_folder(run, (*RECORD, "asks.parquet"))
    going = replay_course(folder, shards=shards)
    with tempfile.TemporaryDirectory(prefix="populace-replay-") as place:
        replayed = replay_run(going, folder, out or Path(place), sys.stderr)
    sys.stdout.write(replayed.text())
    if replayed.diverged is not None:
        raise typer.Exit(replayed.diverged.exit_code)


@app.command()
def fork(
    run: Annotated[str, typer.Argument(help="The run to branch off from: its folder, or its address (s3://...).")],
    at_tick: Annotated[int, typer.Option(help="The tick before which the two part.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting, key=value; society.* changes from --at-tick on.")
    ] = None,
    lever: Annotated[
        list[str] | None, typer.Option(help="A lever from --at-tick on, such as 'block={sender=[1]}'; repeatable.")
    ] = None,
    ticks: Annotated[int | None, typer.Option(help="How many ticks in all.")] = None,
    shards: Annotated[int | None, typer.Option(help="How many shards; any number gives the same result.")] = None,
    transport: Annotated[str | None, typer.Option(help="local (this process) or ray.")] = None,
    out: Annotated[
        str | None, typer.Option(help="The fork's folder, or s3://bucket/folder; default: a new folder beside.")
    ] = None,
    salvage: Annotated[bool, typer.Option(help="Ask anew what the run's damaged journal has lost.")] = False,
) -> None:
    """Branch a counterfactual off from a run: identical to a tick, then only what diverged is asked anew."""
    from populace.runs.courses import fork_course

    going = fork_course(
        run, at_tick, set_ or (), lever or (), salvage=salvage, ticks=ticks, shards=shards, transport=transport
    )
    with _place(out or _beside(run), new=True) as (folder, mirror):
        _say(going.notes)
        _run(going.origin, going.settings, folder, going.course, mirror)


@app.command()
def diff(
    a: Annotated[str, typer.Argument(help="A run's folder, or its address (s3://...).")],
    b: Annotated[str, typer.Argument(help="The run to compare it with.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object, with every tick.")] = False,
) -> None:
    """Say where two runs part, with both texts, whom it touched and what became of the outcomes."""
    import msgspec

    from populace.runs.diff import diff_runs
    from populace.runs.diff_text import print_diff
    from populace.store.remote.mirror import RECORD, local_folder

    one, other = (local_folder(run, (*RECORD, "*.parquet")) for run in (a, b))
    found = msgspec.structs.replace(diff_runs(one, other), a=a, b=b)
    if json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        print_diff(found, sys.stdout)


def _say(notes: Sequence[str]) -> None:
    for note in notes:
        sys.stderr.write(f"note: {note}\n")


def _beside(run: str) -> str:
    """A new folder for a fork of a run: beside it, or in runs/ where that is a remote one."""
    from populace.store.remote.mirror import is_remote

    if is_remote(run):
        return str(_fresh_folder(f"{run.rstrip('/').rpartition('/')[2]}-fork"))
    return str(_fresh_folder(f"{Path(run).resolve().name}-fork", Path(run).parent))


def _run(origin: Any, settings: Settings, out: Path, course: Any = None, mirror: Mirror | None = None) -> None:
    from populace.cluster.coordinator import Coordinator
    from populace.cluster.host import tune_collector
    from populace.monitoring.metrics import Metrics
    from populace.monitoring.progress import choose_progress
    from populace.monitoring.summary import print_summary
    from populace.store.manifest import read_manifest
    from populace.store.tables.tables import outcome_series

    place = out if mirror is None else mirror.remote
    progress = choose_progress(sys.stderr)
    observers: list[Any] = [progress]
    metrics = None
    if settings.metrics_port is not None:
        labels = {"experiment": settings.experiment, "arm": settings.arm}
        metrics = Metrics(settings.metrics_host, settings.metrics_port, **labels)
        observers.append(metrics)
    coordinator = Coordinator(origin, settings, make_transport(settings), out, observers, course, mirror)
    tune_collector()
    try:
        asyncio.run(_until_stopped(coordinator))
    except PopulaceError as error:
        if settings.journal != "off" and _goes_on(error, out):
            error.add_note(f"to go on: populace resume {shlex.quote(str(place))}")
        raise
    finally:
        progress.close()
        if metrics is not None:
            metrics.close()
        manifest = read_manifest(out) if (out / "manifest.json").exists() else None
        if manifest is not None and (_came_to_something(manifest) or (course is not None and course.resumed)):
            outcomes = outcome_series(out) if (out / "outcomes.parquet").exists() else {}
            print_summary(manifest, outcomes, place, sys.stdout)


def _goes_on(error: PopulaceError, out: Path) -> bool:
    """Whether the run that this error ended can be gone on with: not where its very code or record is wrong."""
    from populace.store.manifest import read_manifest

    hopeless = isinstance(error, ScenarioError | Diverged | ConservationError | JournalDamaged)
    if hopeless or not (out / "run.json").exists():
        return False
    return not (out / "manifest.json").exists() or read_manifest(out).get("status") != "complete"


def _came_to_something(manifest: dict[str, Any]) -> bool:
    done = manifest["ticks"] or manifest["asks"]["made"] or manifest["calls_billed"]
    return bool(done) or manifest.get("status") == "complete"


def make_transport(settings: Settings) -> Any:
    """The transport that the settings name; Ray is imported only for Ray."""
    if settings.transport == "ray":
        from populace.cluster.ray import RayTransport

        return RayTransport()
    from populace.cluster.local import LocalTransport

    return LocalTransport()


async def _until_stopped(coordinator: Any) -> None:
    loop = asyncio.get_running_loop()
    pressed = 0

    def stop() -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1:
            os._exit(130)
        sys.stderr.write("\nstopping: what is committed is being saved (once more to quit at once)\n")
        coordinator.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    await coordinator.run()


def _fresh_folder(name: str, beside: Path = Path("runs")) -> Path:
    number = 1
    while (folder := beside / f"{name}-{number}").exists():
        number += 1
    return folder


@app.command()
def scenarios() -> None:
    """List the scenarios that ship with populace."""
    from populace.data.societies import find_society, load_society, shipped

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("scenario", "agents", "ticks", "about", "parameters"):
        table.add_column(column)
    for name in shipped():
        society = load_society(find_society(name))
        parameters = ", ".join(society.parameters.__struct_fields__)
        table.add_row(name, str(society.size), str(society.ticks), society.about, parameters)
    Console().print(table)


@app.command()
def estimate(
    scenario: Annotated[str, typer.Argument(help="A scenario's name, a module, or a path ending in .py.")],
    agents: Annotated[int | None, typer.Option(help="How many agents the run is to have.")] = None,
    ticks: Annotated[int | None, typer.Option(help="How many ticks it is to have.")] = None,
    model: Annotated[str | None, typer.Option(help="embedded, openai or scripted.")] = None,
    seed: Annotated[int | None, typer.Option(help="The run's seed.")] = None,
    shards: Annotated[int | None, typer.Option(help="How many shards it is to have.")] = None,
    settings: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting, key=value; may be repeated.")] = None,
    pilot_agents: Annotated[int, typer.Option(help="How many agents the pilot has.")] = 20,
    pilot_ticks: Annotated[int, typer.Option(help="How many ticks the pilot has.")] = 6,
    scripted: Annotated[bool, typer.Option("--scripted", help="Script the pilot's answers: it costs nothing.")] = False,
    confidence: Annotated[float, typer.Option(help="How often the intervals are to hold.")] = 0.9,
    out: Annotated[Path | None, typer.Option(help="Keep the pilot's folder here; else it goes.")] = None,
) -> None:
    """Say from a small pilot what a run will come to: calls, tokens, money and time, each with an interval."""
    from populace.data.societies import find_society
    from populace.monitoring.progress import choose_progress
    from populace.runs.estimate import expect, print_expected

    options = {"agents": agents, "ticks": ticks, "model__kind": model, "seed": seed, "shards": shards}
    chosen = load_settings(settings, set_ or (), **options)
    if out is not None:
        _refuse_used(out)
    progress = choose_progress(sys.stderr)
    try:
        expected = expect(
            find_society(scenario), chosen, agents=pilot_agents, ticks=pilot_ticks, scripted=scripted,
            confidence=confidence, out=out, observers=[progress],
        )  # fmt: skip
    finally:
        progress.close()
    print_expected(expected, sys.stdout)


@app.command()
def costs(
    runs: Annotated[list[Path] | None, typer.Argument(help="Folders of runs.")] = None,
    ledger: Annotated[Path | None, typer.Option(help="An experiment's ledger (budget.ledger): its runs.")] = None,
    release: Annotated[
        str | None, typer.Option(help="A killed run in --ledger, by name or folder: give back what it did not spend.")
    ] = None,
) -> None:
    """Add up what runs cost by experiment, arm and purpose; or look after an experiment's ledger."""
    from populace.runs.costs import print_costs, print_ledger

    if not runs and ledger is None:
        raise SettingsError("say what to add up: populace costs RUN..., or populace costs --ledger FILE")
    if release is not None and ledger is None:
        raise SettingsError("--release needs --ledger FILE, the file that budget.ledger names")
    if runs:
        print_costs(runs, sys.stdout)
    if ledger is not None:
        print_ledger(ledger, release, sys.stdout)


@app.command()
def doctor(
    settings: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting, key=value; may be repeated.")] = None,
    model: Annotated[str | None, typer.Option(help="embedded, openai or scripted.")] = None,
) -> None:
    """Check Python, Ray, the model and the disk, and say what to do."""
    from populace.cli.doctor import examine

    chosen = load_settings(settings, set_ or (), model__kind=model)
    findings = asyncio.run(examine(chosen))
    console = Console(highlight=False)
    for finding in findings:
        mark = "[green]ok[/]   " if finding.good else "[red]wrong[/]"
        console.print(f"{mark} {finding.what}: ", end="")
        console.print(finding.found, markup=False)
        if finding.remedy:
            console.print(f"      → {finding.remedy}", markup=False)
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; an error of populace's own is one clear message and its exit code.

    A set of strings is iterated in an order that Python draws for each process, which would make a scenario's
    prompts differ between runs; so the order is fixed before anything else is loaded.
    """
    if os.environ.get("PYTHONHASHSEED") is None and sys.argv and Path(sys.argv[0]).exists():
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606  # it is this very program
    try:
        app()
    except PopulaceError as error:
        sys.stderr.write("\n".join((f"populace: {error}", *getattr(error, "__notes__", ()))) + "\n")
        sys.exit(error.exit_code)

