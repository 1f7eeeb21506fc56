"""Plays one run of an experiment in its folder, or goes on with it. Shell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from populace.core.errors import SettingsError
from populace.data.societies import load_society
from populace.experiments.design import Design, DesignedArm, Task
from populace.experiments.lots import Drawn, draw_lots, drawn_levers
from populace.monitoring.report import Observer
from populace.runs.conduct import Say, conduct, nobody
from populace.runs.courses import fork_course
from populace.runs.place import new_place
from populace.runs.resume import resume_run
from populace.runs.run import run_society
from populace.runs.stop import Stop
from populace.settings import Assignment, Settings, revise_settings, with_levers
from populace.store.folder import RUN_FILE, read_run_file
from populace.store.manifest import is_complete, read_manifest


def play(
    folder: Path,
    design: Design,
    task: Task,
    bounds: Sequence[Assignment] = (),
    *,
    observers: Sequence[Observer] = (),
    say: Say = nobody,
    stop: Stop | None = None,
) -> dict[str, Any]:
    """Do one run of the experiment in `folder`, in the folder of its name there, and give its manifest.

    One that is complete is left as it is, one that was begun is gone on with. `bounds` are settings of this attempt:
    its share of the account's limits and of the money. Raises what ends a run early.
    """
    out = folder / task.run
    ways: dict[str, Any] = {"observers": observers, "say": say, "stop": stop}
    if (out / RUN_FILE).exists():
        if is_complete(out):
            return read_manifest(out)
        ours = read_run_file(out).society in design.societies
        return resume_run(out, bounds, trust=ours, **ways)
    arm = design.arm(task.arm)
    if not task.parent:
        settings = revise_settings(settings_of(design, arm, task.replicate), bounds)
        return run_society(design.societies[arm.society], settings, out, **ways)
    parent = folder / task.parent
    if not is_complete(parent):
        raise SettingsError(f"{parent}: is not complete, so {task.run} cannot be forked from it.")
    base = design.arm(arm.base)
    levers = [one for one in levers_of(design, arm, task.replicate) if one["at"] >= arm.at_tick]
    code = design.societies[arm.society]
    changes = [*_changes(design, base, arm), *bounds, ("arm", arm.name), ("checkpoint.kept_at", design.kept_at(arm))]
    going = fork_course(parent, arm.at_tick, changes, levers, code=code, anew=True)
    with new_place(out, say) as place:
        return conduct(going, place, say=say, observers=observers, stop=stop)


def settings_of(design: Design, arm: DesignedArm, replicate: int) -> Settings:
    """The settings of an arm's run that is begun by itself."""
    return with_levers(bare_settings(design, arm, replicate), levers_of(design, arm, replicate))


def bare_settings(design: Design, arm: DesignedArm, replicate: int) -> Settings:
    """The settings of an arm's run but for its levers."""
    given: list[Assignment] = [*arm.settings.items(), *((f"society.{k}", v) for k, v in arm.parameters.items())]
    given += [("arm", arm.name), ("checkpoint.kept_at", design.kept_at(arm)), ("seed", design.seed + replicate)]
    return revise_settings(design.read_settings(), given)


def levers_of(design: Design, arm: DesignedArm, replicate: int) -> list[dict[str, Any]]:
    """An arm's levers in a replicate, with the ids of who is drawn to be treated."""
    return drawn_levers(arm.levers, drawn(design, arm, replicate))


def drawn(design: Design, arm: DesignedArm, replicate: int) -> dict[tuple[str, float], Drawn]:
    """Whom the lots of an arm's levers treat in a replicate; see `draw_lots`."""
    return draw_lots(design.societies[arm.society], bare_settings(design, arm, replicate), arm.levers)


def _changes(design: Design, base: DesignedArm, arm: DesignedArm) -> list[Assignment]:
    """What an arm that is forked before tick 0 sets otherwise than the one that it is forked from."""
    if arm.at_tick:
        return []
    usual = msgspec.structs.asdict(load_society(design.societies[arm.society]).parameters) | design.settings["society"]
    plain = design.read_settings().model_dump(mode="json")
    settings, parameters = base.settings.keys() | arm.settings.keys(), base.parameters.keys() | arm.parameters.keys()
    found = [(key, arm.settings.get(key, _at(plain, key))) for key in settings]
    found += [(f"society.{key}", arm.parameters.get(key, usual[key])) for key in parameters]
    return [*sorted(found, key=str)]


def _at(values: Mapping[str, Any], key: str) -> Any:
    for step in key.split("."):
        values = values[step]
    return values
