"""Experiments begun and gone on with, by the command line and from Python. Shell."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from populace.core.errors import Interrupted, PopulaceError, SettingsError
from populace.experiments.checks import check_design, dry_pass
from populace.experiments.conducting import Watcher, conduct_all
from populace.experiments.declared import Experiment
from populace.experiments.design import FILE, Design, differences, is_experiment, read_design, write_design
from populace.experiments.ending import leading_on
from populace.experiments.loading import find_experiment
from populace.experiments.looking import in_words, looked_at, next_replicates
from populace.experiments.planning import plan
from populace.experiments.progress import choose_display
from populace.experiments.results import DRY, Results
from populace.experiments.schedule import Schedule
from populace.experiments.trust import remember_design
from populace.files import write_whole
from populace.runs.stop import Stop, in_background
from populace.settings import Assignment
from populace.store.lock import held
from populace.store.place import check_new
from populace.store.storage import make_folder


def run_experiment(
    experiment: Experiment | str,
    out: str | Path,
    *,
    replicates: int | None = None,
    model: str | None = None,
    settings: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    dry: bool = True,
    until: str | None = None,
    quiet: bool = False,
) -> Results:
    """Play an experiment, or the one of a file or a name, in the folder `out`; see `Experiment.run`."""
    declared = find_experiment(experiment) if isinstance(experiment, str) else experiment
    display, stop = choose_display(sys.stderr, quiet=quiet), Stop()
    given = list((settings or {}).items())

    def work() -> Results:
        ways: dict[str, Any] = {"replicates": replicates, "model": model, "jobs": jobs, "dry": dry, "until": until}
        return begin(declared, Path(out), given, display, stop, **ways)

    try:
        return in_background(work, stop, lambda: display.note("stopping: what is committed is being saved"))
    except Interrupted as error:
        if not stop.asked:
            raise
        raise KeyboardInterrupt(f"{error}. To go on, give the experiment again with the same folder") from None
    finally:
        display.close()


def begin(
    experiment: Experiment,
    out: Path,
    assignments: Iterable[Assignment],
    watcher: Watcher,
    stop: Stop,
    *,
    replicates: int | None = None,
    model: str | None = None,
    jobs: int | None = None,
    dry: bool = True,
    until: str | None = None,
) -> Results:
    """Play an experiment in a folder: a new one, or one in which it stands, with as many replicates or fewer.

    What it could not show is an error before anything is asked, unless it is not to be played `dry` first. Raises what
    ends it early.
    """
    design = plan(experiment, replicates=replicates, assignments=assignments, model=model, stopping=until)
    if is_experiment(out):
        design = _same(out, read_design(out), design)
    else:
        check_design(experiment, design)
    make_folder(out)
    with held(out):
        if not is_experiment(out):
            check_new(out)
            if dry:
                passed = dry_pass(experiment, design, watcher.note, stop)
                write_whole(out / DRY, msgspec.json.format(msgspec.json.encode(passed), indent=2) + b"\n")
        write_design(out, design)
        remember_design(design)
        return _go(out, design, watcher, stop, jobs)


def go_on(
    folder: Path,
    watcher: Watcher,
    stop: Stop,
    *,
    assignments: Iterable[Assignment] = (),
    jobs: int | None = None,
) -> Results:
    """Go on with the experiment in a folder; of settings only its budget and endpoint may change. Raises as `begin`."""
    from populace.settings import changed_keys, revise_settings

    design = read_design(folder)
    before = design.read_settings()
    settings = revise_settings(before, assignments)
    if wrong := [key for key in changed_keys(before, settings) if key.partition(".")[0] not in ("budget", "endpoint")]:
        raise SettingsError(f"{', '.join(wrong)}: cannot change while an experiment goes on. Begin another.")
    with held(folder):
        design = msgspec.structs.replace(design, settings=settings.model_dump(mode="json"))
        write_design(folder, design)
        remember_design(design)
        return _go(folder, design, watcher, stop, jobs)


def _go(folder: Path, design: Design, watcher: Watcher, stop: Stop, jobs: int | None) -> Results:
    try:
        while True:
            schedule = Schedule(folder, design)
            conduct_all(schedule, jobs_of(design) if jobs is None else jobs, watcher, stop)
            if design.stopping is None:
                break
            looked = looked_at(Results(folder))
            more, why = next_replicates(looked, schedule)
            design = msgspec.structs.replace(
                design, replicates=more, stopping=msgspec.structs.replace(design.stopping, ended=why)
            )
            write_design(folder, design)
            if looked is not None:
                watcher.note(in_words(looked))
            if why:
                break
    except KeyboardInterrupt:
        ended = Interrupted("the experiment was interrupted; what its runs have committed is saved")
        raise leading_on(ended, _on(folder)) from None
    except PopulaceError as error:
        raise leading_on(error, _on(folder))  # noqa: B904  # the same error
    return Results(folder)


def _on(folder: Path) -> str:
    return f"populace resume {shlex.quote(str(folder))}"


def jobs_for(folder: Path, jobs: int | None) -> int:
    """How many runs go side by side of what is played on top of an experiment: so many, or as in the experiment."""
    return jobs_of(read_design(folder)) if jobs is None else jobs


def jobs_of(design: Design) -> int:
    """How many runs go side by side where nobody says: one a processor.

    One where the model runs on this machine, or where Ray shares the processors out.
    """
    settings = design.read_settings()
    alone = settings.model.kind == "embedded" or settings.transport == "ray"
    return 1 if alone else os.cpu_count() or 1


def _same(folder: Path, there: Design, asked: Design) -> Design:
    """What is to be played in a folder that holds an experiment. Raises SettingsError where it is another one."""
    if other := differences(there, asked):
        raise SettingsError(
            f"{folder / FILE}: holds another experiment than this one: {', '.join(other)} differ. Choose another "
            f"folder with --out, or go on with that one: populace resume {folder}"
        )
    if asked.stopping is not None:
        most = asked.stopping.most
        if most < there.replicates:
            raise SettingsError(f"{folder}: has {there.replicates} replicates already; at most {most} are asked for.")
        asked = msgspec.structs.replace(asked, replicates=there.replicates)
    if asked.replicates < there.replicates:
        raise SettingsError(f"{folder}: has {there.replicates} replicates already; more can be asked for, not fewer.")
    return msgspec.structs.replace(there, replicates=asked.replicates, settings=asked.settings, audits=asked.audits,
                                   stopping=asked.stopping)  # fmt: skip
