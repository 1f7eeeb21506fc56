"""What no experiment could show is an error before any model is asked: by its design, and by a dry pass. Shell.

The dry pass plays one replicate of every arm on the society's rules, or on the scripted model where it has none; what
it finds counts once it holds in three. A society that has types on rules beside others, or no rule for some of its
asks, is played on rules where its runs would be, and on the scripted model elsewhere.
"""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from populace.agents.minds import RULES
from populace.agents.society import Society
from populace.cluster.job import plan_job
from populace.core.errors import NoRule, RunFailed, ScenarioError, SettingsError
from populace.core.records import EMBED_ROLE
from populace.data.societies import load_society
from populace.experiments.by_agent import People
from populace.experiments.declared import Experiment
from populace.experiments.design import Design, DesignedArm, folder_of
from populace.experiments.fidelity import Touched, alike, touched
from populace.experiments.looking import why_never
from populace.experiments.playing import bare_settings, play, settings_of
from populace.experiments.values import series_of
from populace.runs.stop import Stop
from populace.settings import Budget, Model, RoleSettings, Settings
from populace.settings.minds import plain_minds, with_minds

_REPLICATES: Final = 3
PLACEBO: Final = "the placebo"


class DryPass(msgspec.Struct, frozen=True):
    """What a dry pass came to: on which mind, whom levers touched, and what to know of it."""

    mind: str
    replicates: int
    touched: list[Touched]
    notes: list[str] = []


def check_design(experiment: Experiment, design: Design) -> None:
    """Raise ScenarioError or SettingsError, naming the line, for what cannot be run or cannot differ."""
    if design.replicates < 1:
        raise SettingsError(f"replicates are 1 or more, not {design.replicates}")
    for society in {id(one): one for one in map(load_society, design.societies)}.values():
        _check_outcomes(experiment, design, society)
    _check_agents(experiment, design)
    if said := why_never(design):
        raise experiment.wrong("stopping", said=said)
    if design.read_settings().journal == "off":
        raise experiment.wrong("settings", said="journal = 'off': arms are forked from their control's journal")
    known: list[tuple[DesignedArm, Any]] = []
    for arm in design.arms:
        _check_horizon(experiment, design, arm)
        what = _treatment(design, arm)
        for other, its in known:
            if its == what:
                raise experiment.wrong(
                    "arms", arm.name, said=f"arms {other.name!r} and {arm.name!r} are the same, so nothing can differ"
                )
        known.append((arm, what))
        _check_arm(experiment, design, arm)


def _check_outcomes(experiment: Experiment, design: Design, society: Society) -> None:
    for at, one in enumerate(design.outcomes):
        where = ("outcomes", at)
        if one.at is not None and not 0 <= one.at <= design.ticks:
            raise experiment.wrong(
                *where, "at", said=f"outcome {one.name!r}: tick {one.at} is not from 0 to {design.ticks}"
            )
        if one.scale is not None:
            fields = society.fields
            missing = [name for name in one.scale.items if name not in fields]
            if missing:
                said = (
                    f"outcome {one.name!r}: of {one.scale.instrument} agents of {society.name} have no public field "
                    f"{', '.join(missing)}. They have: {', '.join(fields) or 'none'}"
                )
                raise experiment.wrong(*where, "instrument", said=said)
        elif one.name not in society.outcomes:
            near = difflib.get_close_matches(one.name, society.outcomes, 1)
            meant = f" Is {near[0]!r} meant?" if near else ""
            raise experiment.wrong(
                *where, said=f"{society.name} has no outcome {one.name!r}; it has {', '.join(society.outcomes)}.{meant}"
            )


def _check_agents(experiment: Experiment, design: Design) -> None:
    """Raise ScenarioError for a field that agents have not, and for subgroups that the population does not make."""
    fields = {name for origin in design.societies for name in load_society(origin).fields}
    for at, one in enumerate(design.outcomes):
        if one.each is not None and one.each.field not in fields:
            said = f"outcome {one.name!r}: agents have no public field {one.each.field!r}. They have: "
            raise experiment.wrong("outcomes", at, said=f"{said}{', '.join(sorted(fields)) or 'none'}")
    people, control = People(design), design.arm(design.control)
    named = [(("outcomes", at), name) for at, one in enumerate(design.outcomes) if one.each for name in one.each.only]
    named += [(("subgroups", at), one.column) for at, one in enumerate(design.subgroups)]
    for where, name in named:
        try:
            column = people.column(control, 0, name)
            if where[0] == "subgroups":
                design.subgroups[where[1]].grouped({0: column})
        except ScenarioError as error:
            raise experiment.wrong(*where, said=str(error)) from None


def _check_horizon(experiment: Experiment, design: Design, arm: DesignedArm) -> None:
    late = [at for at, lever in enumerate(arm.levers) if int(lever["at"]) >= design.ticks]
    if late:
        lever = arm.levers[late[0]]
        raise experiment.wrong(
            "arms", arm.name, "levers", late[0],
            said=f"arm {arm.name!r}: a lever takes effect at tick {lever['at']}, and the runs end after tick "
            f"{design.ticks - 1} (ticks = {design.ticks}), so it would never act",
        )  # fmt: skip


def _treatment(design: Design, arm: DesignedArm) -> Any:
    """What an arm does, with its parameters and settings as they come to be."""
    society = load_society(design.societies[arm.society])
    parameters = society.with_parameters(design.settings["society"] | arm.parameters)
    settings = bare_settings(design, arm, 0).model_dump(mode="json")
    for own in ("arm", "checkpoint", "society"):
        settings.pop(own)
    return arm.society, arm.levers, msgspec.to_builtins(parameters), settings


def _check_arm(experiment: Experiment, design: Design, arm: DesignedArm) -> None:
    """Build the society with the arm's levers: what none of them can do is told there."""
    try:
        plan_job(design.societies[arm.society], settings_of(design, arm, 0))
    except (ScenarioError, SettingsError) as error:
        at = next((at for at, lever in enumerate(arm.levers) if repr(lever["name"]) in str(error)), None)
        path = ("arms", arm.name) if at is None else ("arms", arm.name, "levers", at)
        raise experiment.wrong(*path, said=f"arm {arm.name!r}: {error}") from None


def dry_pass(experiment: Experiment, design: Design, note: Callable[[str], None], stop: Stop | None = None) -> DryPass:
    """Play all arms on a mind that costs nothing. Raises ScenarioError, with the line, for what could show nothing."""
    try:
        return _dry_pass(experiment, design, note, stop, whole=not _are_mixed(design))
    except NoRule:
        return _dry_pass(experiment, design, note, stop, whole=False)


def _dry_pass(
    experiment: Experiment, design: Design, note: Callable[[str], None], stop: Stop | None, *, whole: bool
) -> DryPass:
    """A dry pass, on rules for all asks where they are the `whole` mind. Raises NoRule where they are not."""
    mind, dry = _dry(design, whole=whole)
    if len(dry.arms) < 2:
        return DryPass(mind, 0, [], ["the arms differ in what answers alone: a dry pass has nothing to tell of them"])
    with tempfile.TemporaryDirectory(prefix="populace-dry-") as place:
        folder, found = Path(place), list[tuple[str, tuple[Any, ...], str]]()
        replicates = 0
        while replicates < _REPLICATES and (found or not replicates):
            for task in dry.tasks(replicates + 1):
                if task.replicate == replicates:
                    try:
                        play(folder, dry, task, stop=stop)
                    except (ScenarioError, SettingsError) as error:
                        if whole and isinstance(error, NoRule):
                            raise
                        raise _failed(experiment, task.arm, str(error), mind) from None
                    except RunFailed as error:
                        said, _, _ = str(error).partition(" All are in ")
                        raise _failed(experiment, task.arm, said, mind) from None
            new = _findings(folder, dry, replicates, mind)
            found = new if not replicates else [one for one in found if one in new]
            replicates += 1
        rows = [one for task in dry.tasks(1) for one in touched(folder, task)]
    notes = []
    for check, path, said in found:
        if check not in design.accept and check != "note":
            raise experiment.wrong(
                *path, said=f"{said}. Mend it, or say that it is meant: accept=[{check!r}] (dry pass on {mind})"
            )
        notes.append(said)
        note(f"{experiment.line(*path)}: {said} (dry pass on {mind})")
    return DryPass(mind, replicates, rows, notes)


def _failed(experiment: Experiment, arm: str, said: str, mind: str) -> ScenarioError:
    """What to say of an arm that could not be played dry."""
    return experiment.wrong(
        "arms", arm, said=f"arm {arm!r}: {said.rstrip('.')}. This was the dry pass, on {mind}; --no-dry leaves it out."
    )


def _are_mixed(design: Design) -> bool:
    """Whether rules answer some types or purposes of a society and something else answers the others."""
    settings = design.read_settings()
    return settings.model.kind != RULES and any(_ruled(load_society(one), settings) for one in design.societies)


def _ruled(society: Society, settings: Settings) -> dict[str, list[str]]:
    """The types whose mind is the rules, each with the purposes; '' is all that are not named."""
    minds = plain_minds(with_minds(settings, society.classes))
    ruled = {of: [purpose for purpose, mind in by.items() if mind == RULES] for of, by in minds.items()}
    return {of: purposes for of, purposes in ruled.items() if purposes}


def _dry(design: Design, *, whole: bool) -> tuple[str, Design]:
    """What is played without a model, and of which arms: those that differ in more than what answers.

    Rules answer all asks where they are a `whole` mind, and else those that they would answer in the runs.
    """
    societies, own = [load_society(origin) for origin in design.societies], design.read_settings()
    rules = own.model.kind == RULES or (whole and all(one.rules for one in societies))
    scripted = all(one.scripted for one in societies)
    mind = "the society's rules" if rules else "the society's script" if scripted else PLACEBO
    roles = {}
    for name, one in () if whole else own.model.roles.items():
        if name != EMBED_ROLE:
            roles[name] = one if one.kind == RULES else RoleSettings(kind=None if one.kind is None else "scripted")
    model = Model(kind="rules" if rules else "scripted", roles=roles)
    settings = own.model_copy(update={"model": model, "budget": Budget()})
    ruled = {} if rules else {of: by for one in societies for of, by in _ruled(one, settings).items()}
    if ruled or any(one.kind == RULES for one in roles.values()):
        of = ", ".join(repr(of or "agents") + _purposes(by) for of, by in ruled.items())
        named = ", ".join(f"model role {name!r}" for name, one in roles.items() if one.kind == RULES)
        mind = f"the society's rules for {', '.join(filter(None, (of, named)))} and {mind} for the others"
    kept: list[DesignedArm] = []
    for arm in sorted(design.arms, key=lambda one: one.name != design.control):
        other = {key for key in arm.settings if key.partition(".")[0] in ("model", "minds")}
        if not other:
            kept.append(arm)
    names = {arm.name for arm in kept}
    arms = [arm for arm in design.arms if arm.name in names and (not arm.base or arm.base in names)]
    plain = settings.model_dump(mode="json")
    return mind, msgspec.structs.replace(design, arms=arms, settings=plain, replicates=_REPLICATES)


def _purposes(purposes: list[str]) -> str:
    return "" if "" in purposes else f" ({', '.join(purposes)})"


def _findings(folder: Path, design: Design, replicate: int, mind: str) -> list[tuple[str, tuple[Any, ...], str]]:
    """What is wrong with the arms of a replicate: which check, where it stands, and what to say."""
    found: list[tuple[str, tuple[Any, ...], str]] = []
    runs = {arm.name: folder / folder_of(arm, replicate) for arm in design.arms}
    for task in design.tasks(replicate + 1):
        for at, one in enumerate(touched(folder, task) if task.replicate == replicate else ()):
            if not one.rows and at < len(design.arm(task.arm).levers):
                what = {"block": "refuses no message", "send": "reaches nobody"}.get(one.kind, "never acts")
                place = ("arms", task.arm, "levers", at)
                found.append(("idle_lever", place, f"arm {task.arm!r}: lever {one.lever!r} {what}"))
    names = list(runs)
    for at, name in enumerate(names):
        same = next((other for other in names[:at] if alike(runs[other], runs[name])), None)
        if same is not None:
            found.append(("alike", ("arms", name), f"arm {name!r}: its runs are those of {same!r}, step for step"))
    treated = [arm for arm in design.arms if arm.name != design.control]
    for at, outcome in enumerate(design.outcomes):
        control = series_of(runs[design.control], outcome)
        others = (series_of(runs[arm.name], outcome) for arm in treated)
        if any(not np.array_equal(control, other, equal_nan=True) for other in others):
            continue
        said = f"outcome {outcome.name!r} is the same in every arm"
        moves = len(np.unique(control[~np.isnan(control)])) > 1
        if PLACEBO in mind and moves:
            found.append(("note", ("outcomes", at), f"{said}: what is said changes nothing that the placebo answers"))
        else:
            found.append(("still_outcome", ("outcomes", at), f"{said}: no lever moves it"))
    return found
