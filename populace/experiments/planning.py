"""From what an experiment's file declares to its design: which arm forks from which, and from which tick. Shell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

from populace.agents.probes.instrument import Instrument, Item
from populace.agents.society import Society
from populace.agents.types import counts_of
from populace.core.errors import PopulaceError, ScenarioError
from populace.data.from_python import origin_of
from populace.data.societies import Origin, find_society, load_society
from populace.experiments.audits.declared import Audit, DesignedAudit, Perturbation
from populace.experiments.declared import Arm, Experiment, Outcome
from populace.experiments.design import Design, DesignedArm, DesignedOutcome, DesignedScale, plain_name
from populace.experiments.randomised import lots_of, plain_lever
from populace.experiments.soundness import shown_path, what_is_wrong
from populace.experiments.stopping import Stopping, until
from populace.experiments.subgroups import Each, Subgroup
from populace.interventions.levers import label_of, parse_lever
from populace.settings import Assignment, Settings, load_settings, may_change

_FOUND: Final[list[tuple[Society, Origin]]] = []


def plan(
    experiment: Experiment,
    *,
    replicates: int | None = None,
    assignments: Iterable[Assignment] = (),
    model: str | None = None,
    stopping: str | None = None,
) -> Design:
    """The design of an experiment, with these settings over its own, and a stopping rule as `--until` has it.

    Raises ScenarioError and SettingsError, naming the line, for what cannot be.
    """
    origin = _origin(experiment, experiment.society)
    society = load_society(origin)
    base = _settings(experiment, assignments, model)
    ticks = base.ticks or society.ticks
    origins = [origin]
    arms: list[DesignedArm] = []
    for name, arm in experiment.arms.items():
        own = origin if arm.society is None else _origin(experiment, arm.society, "arms", name, "society")
        if own not in origins:
            origins.append(own)
        arms.append(_arm(experiment, name, arm, origins.index(own)))
    folders = [arm.folder for arm in arms]
    arms = [
        msgspec.structs.replace(arm, folder=f"{arm.folder}-{at}") if folders.count(arm.folder) > 1 else arm
        for at, arm in enumerate(arms)
    ]
    name = experiment.name or society.name
    many = experiment.replicates if replicates is None else replicates
    rule = _stopping(experiment, many, stopping)
    design = Design(
        name=name,
        society=society.name,
        question=experiment.question,
        control=experiment.compared_with,
        primary=experiment.primary or experiment.measured[0].name,
        arms=_forks(arms, experiment.compared_with, origins, base),
        outcomes=[_outcome(experiment, one) for one in experiment.measured],
        replicates=many if rule is None else min(rule.batch, many),
        seed=base.seed,
        ticks=ticks,
        agents=sum(counts_of(society, base.agents).values()),
        settings=base.model_copy(update={"experiment": name, "ticks": ticks}).model_dump(mode="json"),
        societies=origins,
        randomised=[msgspec.to_builtins(one) for one in lots_of(arms)],
        published={key: dict(value) for key, value in experiment.published.items()},
        accept=list(experiment.accept),
        audits=[_audit(experiment, at, one, origins) for at, one in enumerate(experiment.audits)],
        subgroups=[Subgroup(one) if isinstance(one, str) else one for one in experiment.subgroups],
        stopping=rule,
        populace=version("populace"),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return _as_written(experiment, design)


def _as_written(experiment: Experiment, design: Design) -> Design:
    """The design as it will be read again, so that its digest is one (1 is 1.0, a list a tuple).

    Raises ScenarioError for what experiment.json could not hold: else nothing that was paid for could be read.
    """
    found = what_is_wrong(design)
    if found is not None:
        path = list(found[0])
        if path[0:1] == ["arms"] and len(path) > 1:
            path[1] = design.arms[int(path[1])].name
        raise experiment.wrong(*path, said=f"{shown_path(tuple(path)) or 'the design'}: {found[1]}")
    return msgspec.json.decode(msgspec.json.encode(design), type=Design)


def _origin_of(society: Society) -> Origin:
    """Where a society comes from; once found it is kept, since its module may be run again by then."""
    for one, origin in _FOUND:
        if one is society:
            return origin
    origin = origin_of(society)
    _FOUND.append((society, origin))
    return origin


def _settings(experiment: Experiment, assignments: Iterable[Assignment], model: str | None) -> Settings:
    """What the experiment says of every run, and over that what its caller says."""
    agents = dict(experiment.agents) if isinstance(experiment.agents, Mapping) else experiment.agents
    own = {"agents": agents, "ticks": experiment.ticks, "seed": experiment.seed, "model.kind": experiment.model}
    given: list[Assignment] = [(key, value) for key, value in own.items() if value is not None]
    given += experiment.settings.items()
    given += ((f"society.{key}", value) for key, value in experiment.parameters.items())
    return load_settings(None, [*given, *assignments], model__kind=model)


def _origin(experiment: Experiment, society: Society | str, *path: str) -> Origin:
    try:
        if isinstance(society, Society):
            return _origin_of(society)
        file = Path(experiment.place.file).parent / society.partition(":")[0]
        beside = file.suffix == ".py" and file.exists()
        origin = find_society(f"{file}{society.removeprefix(society.partition(':')[0])}" if beside else society)
        load_society(origin)
    except ScenarioError as error:
        raise experiment.wrong(*path, said=str(error)) from None
    return origin


def _arm(experiment: Experiment, name: str, arm: Arm, society: int) -> DesignedArm:
    levers = []
    for at, given in enumerate(arm.levers):
        try:
            levers.append(_lever(given, at))
        except PopulaceError as error:
            raise experiment.wrong("arms", name, "levers", at, said=f"arm {name!r}: {error}") from None
    settings = dict(arm.settings) | ({} if arm.model is None else {"model.kind": arm.model})
    for key in settings:
        if key.partition(".")[0] in ("seed", "ticks", "levers", "experiment", "arm", "checkpoint", "journal", "remote"):
            raise experiment.wrong(
                "arms", name, "settings", said=f"arm {name!r}: {key} is the experiment's, not an arm's"
            )
    return DesignedArm(
        name=name,
        folder=plain_name(name),
        about=arm.about,
        levers=levers,
        parameters=dict(arm.parameters),
        settings=settings,
        society=society,
        factors=dict(arm.factors),
    )


def _lever(given: str | Mapping[str, Any], at: int) -> dict[str, Any]:
    """A lever as plain data, named: so its lots are the same wherever it stands at this place in an arm."""
    if isinstance(given, Mapping):
        lots, concrete = plain_lever(given)
        lever = parse_lever(concrete)
        named = {**lots, "at": lever.at, "name": label_of(lever, at)}
        return named if lots != concrete else {**_dumped(lever), "name": label_of(lever, at)}
    lever = parse_lever(given)
    return {**_dumped(lever), "name": label_of(lever, at)}


def _dumped(lever: Any) -> dict[str, Any]:
    return dict(lever.model_dump(mode="json", exclude_defaults=True) | {"at": lever.at})


def _outcome(experiment: Experiment, one: Outcome) -> DesignedOutcome:
    arms = [name for name in experiment.arms if name != experiment.compared_with]
    given = one.direction
    direction: dict[str, str] = {}
    if given is not None:
        direction = {**given} if isinstance(given, Mapping) else dict.fromkeys(arms, given)
    return DesignedOutcome(
        name=one.name,
        about=one.about,
        direction=direction,
        at=one.at,
        read=one.read,
        scale=None if one.instrument is None else _scale(experiment, one, one.instrument),
        bounds=None if one.bounds is None else (float(one.bounds[0]), float(one.bounds[1])),
        each=Each(one.each) if isinstance(one.each, str) else one.each,
    )


def _audit(experiment: Experiment, at: int, one: Audit, origins: list[Origin]) -> DesignedAudit:
    """An audit as plain data; its society, where it names one, is put among the origins."""
    society = None
    if one.society is not None:
        origin = _origin(experiment, one.society, "audits", str(at), "society")
        if origin not in origins:
            origins.append(origin)
        society = origins.index(origin)
    try:
        levers = [_lever(given, nth) for nth, given in enumerate(one.levers)]
    except PopulaceError as error:
        raise experiment.wrong("audits", at, "levers", said=f"audit {one.name!r}: {error}") from None
    return DesignedAudit(
        name=one.name, kind=one.of_kind, about=one.about, parameters=dict(one.parameters), settings=dict(one.settings),
        society=society, levers=levers,
        perturbation=Perturbation(reword=dict(one.reword), personas=dict(one.personas), shuffle=list(one.shuffle)),
    )  # fmt: skip


def _stopping(experiment: Experiment, most: int, given: str | None) -> Stopping | None:
    """The rule by which it stops, of an outcome whose range is known."""
    if given is None and experiment.stopping is None:
        return None
    rule = experiment.stopping or Stopping()
    try:
        rule = rule if given is None else until(given, experiment.stopping)
        rule.check()
    except ScenarioError as error:
        raise experiment.wrong("stopping", said=str(error)) from None
    name = rule.outcome or experiment.primary or experiment.measured[0].name
    names = [one.name for one in experiment.measured]
    if name not in names:
        raise experiment.wrong("stopping", said=f"{name!r} is no outcome of it; there are {', '.join(names)}")
    at = names.index(name)
    if experiment.measured[at].bounds is None:
        said = (
            f"outcome {name!r} has no bounds, and an interval that holds at every look needs the range that the "
            f"outcome cannot leave, known beforehand: Outcome({name!r}, bounds=(low, high))"
        )
        raise experiment.wrong("outcomes", at, said=said)
    return msgspec.structs.replace(rule, most=most, ended="")


def _scale(experiment: Experiment, one: Outcome, instrument: Instrument) -> DesignedScale:
    """What of an instrument makes an outcome's scores. Raises ScenarioError for one that has no such scale."""
    at = experiment.measured.index(one)
    names = [scale.name for scale in instrument.scales]
    if not names or (one.scale and one.scale not in names):
        said = (
            f"outcome {one.name!r}: {instrument.name} has no scale {one.scale!r}; it has {', '.join(names) or 'none'}"
        )
        raise experiment.wrong("outcomes", at, "scale", said=said)
    scale = instrument.scale(one.scale or names[0])
    items = {item.name: (item.low, item.high) for item in instrument.items if isinstance(item, Item)}
    return DesignedScale(
        instrument=instrument.name,
        source=instrument.source,
        items={name: items[name] for name in scale.key},
        key=dict(scale.key),
        how=scale.how,
        most_missing=scale.most_missing,
        recode=list(scale.recode.items()),
    )


def _forks(arms: Sequence[DesignedArm], control: str, origins: Sequence[Origin], base: Settings) -> list[DesignedArm]:
    """The arms with what each is forked from: of those that begin alike, all from one; that one from the control.

    An arm that begins otherwise than the control is forked from it before tick 0, so that what it asks as the control
    did is not asked again; unless what it sets cannot change in a fork.
    """
    ordered = sorted(arms, key=lambda arm: (arm.name != control, len(arm.levers)))
    heads: list[DesignedArm] = []
    made: dict[str, DesignedArm] = {}
    for arm in ordered:
        head = next((one for one in heads if _begins_as(one, arm)), None)
        first = heads[0] if heads else None
        if head is None:
            heads.append(arm)
            forkable = first is not None and all(may_change(key, "fork") for key in _differing(first, arm))
            made[arm.name] = msgspec.structs.replace(
                arm,
                base=first.name if first is not None and forkable else "",
                at_tick=0,
                treated_at=None if first is None else 0,
            )
            continue
        parts = _parts_at(head, arm)
        treated = _parts_at(heads[0], arm) if head is heads[0] else 0
        made[arm.name] = msgspec.structs.replace(arm, base=head.name, at_tick=parts, treated_at=treated)
    return [made[arm.name] for arm in arms]


def _begins_as(one: DesignedArm, other: DesignedArm) -> bool:
    """Whether two arms differ in their levers only."""
    return (one.society, one.parameters, one.settings) == (other.society, other.parameters, other.settings)


def _differing(one: DesignedArm, other: DesignedArm) -> list[str]:
    """The settings that two arms have otherwise."""
    both = one.settings.keys() | other.settings.keys()
    return [key for key in both if one.settings.get(key) != other.settings.get(key)]


def _parts_at(one: DesignedArm, other: DesignedArm) -> int:
    """The first tick in which the levers of two arms may do different things; 0 for the same levers."""
    alone = [lever for lever in one.levers if lever not in other.levers]
    alone += [lever for lever in other.levers if lever not in one.levers]
    return min((int(lever["at"]) for lever in alone), default=0)
