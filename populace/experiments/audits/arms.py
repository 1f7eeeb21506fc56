"""From an audit to the arms that it plays: more of the same design, forked from those there are. Shell: societies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from populace.core.errors import ScenarioError, SettingsError
from populace.data.societies import Origin, load_society
from populace.experiments.audits.declared import DesignedAudit, Perturbation
from populace.experiments.audits.perturbed import affects, origin_with
from populace.experiments.design import Design, DesignedArm, plain_name
from populace.settings import may_change

PLACE: Final = "audits"
"""The folder, in the experiment's, of the runs that audits play."""
_PERSONAS: Final[tuple[str, ...]] = ("profile", "persona")


class Pair(NamedTuple):
    """The arms that are compared in an audit: names in the design that it derives."""

    control: str
    treated: str


def generic_audits(design: Design) -> list[DesignedAudit]:
    """The audits that need no declaration: what of `GENERIC` bears on this society."""
    society = load_society(design.societies[design.arm(design.control).society])
    heat = design.read_settings().model.temperature
    found = [
        _perturbs("option order", "labels of choices shuffled, in the prompt too", options=True),
        _perturbs("message order", "each agent reads its messages in another order", messages=True),
        _perturbs("topology", "ties swap partners by lot; who has how many stays", rewire=1.0),
    ]
    for other in (0.0, 1.0):
        if heat != other:
            settings = {"model.temperature": other}
            found.append(DesignedAudit(name=f"temperature {other:g}", kind="perturbation", settings=settings))
    fields = {name for kind in society.classes.values() for name in kind.__struct_fields__}
    if dealt := [name for name in _PERSONAS if name in fields]:
        about = f"{', '.join(dealt)} dealt anew among agents"
        found.append(
            DesignedAudit(name="persona shuffle", kind="control", about=about, perturbation=Perturbation(shuffle=dealt))
        )
    if lever := _placebo(design):
        found.append(
            DesignedAudit(
                name="placebo lever", kind="control", levers=[lever],
                about=f"a lever that sets {next(iter(lever['set']))} to what it is",
            )
        )  # fmt: skip
    return found


def _perturbs(name: str, about: str, **how: Any) -> DesignedAudit:
    return DesignedAudit(name=name, kind="perturbation", about=about, perturbation=Perturbation(**how))


def _placebo(design: Design) -> dict[str, Any] | None:
    """A lever that acts when the treatment does and changes nothing; None where the society has no parameter for it."""
    control = design.arm(design.control)
    society = load_society(design.societies[control.society])
    parameters = society.with_parameters(design.settings["society"] | control.parameters)
    plain = {key: one for key, one in msgspec.to_builtins(parameters).items() if isinstance(one, int | float | str)}
    if not plain:
        return None
    name, value = next(iter(plain.items()))
    at = min((int(lever["at"]) for arm in design.treatments for lever in arm.levers), default=0)
    return {"at": at, "set": {f"society.{name}": value}, "name": "placebo"}


def settings_audit(text: str) -> DesignedAudit:
    """The perturbation of a setting or a parameter, `key=value`. Raises SettingsError for what is none."""
    key, equals, given = (piece.strip() for piece in text.partition("="))
    if not key or not equals:
        raise SettingsError(f"--also {text}: write it as key=value, for example --also model.temperature=0.2")
    try:
        value = msgspec.json.decode(given)
    except msgspec.DecodeError:
        value = given
    if key.startswith("society."):
        return DesignedAudit(name=text, kind="perturbation", parameters={key.removeprefix("society."): value})
    return DesignedAudit(name=text, kind="perturbation", settings={key: value})


def chosen(audits: Sequence[DesignedAudit], only: Iterable[str]) -> list[DesignedAudit]:
    """Those of these names; all where none is given. Raises SettingsError for a name that is none's."""
    wanted, names = list(only), [one.name for one in audits]
    if missing := [name for name in wanted if name not in names]:
        raise SettingsError(f"--only {missing[0]!r}: there is no such audit; there are {', '.join(names)}")
    return [one for one in audits if not wanted or one.name in wanted]


def with_audit(
    design: Design, audit: DesignedAudit, arms: Sequence[str], place: str = PLACE
) -> tuple[Design, dict[str, Pair]]:
    """The design with the audit's arms, and which of them are compared for each of the `arms` of claims.

    The audit's control is forked from the experiment's before tick 0, the treated arms from the audit's control where
    they are forked from the control in the experiment, else from the arm itself: each pays for what it asks otherwise.
    Raises ScenarioError and SettingsError for what cannot be.
    """
    origins, added, pairs = list(design.societies), list[DesignedArm](), dict[str, Pair]()
    control = design.arm(design.control)
    if audit.levers:
        sham = msgspec.structs.replace(
            control, name=f"{audit.name}: {control.name}", folder=_folder(place, audit, control), about=audit.about,
            levers=[*control.levers, *audit.levers], base=control.name,
            at_tick=min(int(lever["at"]) for lever in audit.levers), treated_at=0,
        )  # fmt: skip
        return _with(design, origins, [sham]), dict.fromkeys(arms, Pair(control.name, sham.name))
    base = _perturbed(design, audit, control, origins, place)
    added.append(base)
    for name in arms:
        arm = design.arm(name)
        made = _perturbed(design, audit, arm, origins, place)
        if arm.base == control.name and arm.at_tick > 0:
            made = msgspec.structs.replace(made, base=base.name, at_tick=arm.at_tick)
        added.append(made)
        pairs[name] = Pair(base.name, made.name)
    return _with(design, origins, added), pairs


def _with(design: Design, origins: list[Origin], added: list[DesignedArm]) -> Design:
    return msgspec.structs.replace(design, societies=origins, arms=[*design.arms, *added])


def _folder(place: str, audit: DesignedAudit, arm: DesignedArm) -> str:
    return f"{place}/{plain_name(audit.name)}.{arm.folder}"


def _perturbed(
    design: Design, audit: DesignedAudit, arm: DesignedArm, origins: list[Origin], place: str
) -> DesignedArm:
    """An arm under the perturbation; its society is put among the origins."""
    origin = origins[arm.society]
    if audit.society is not None:
        if arm.society != design.arm(design.control).society:
            raise ScenarioError(f"arm {arm.name!r} has a society of its own, and the audit names another one")
        origin = origins[audit.society]
    if audit.perturbation != Perturbation():
        if why := affects(origin, audit.perturbation):
            raise ScenarioError(why)
        origin = origin_with(origin, audit.perturbation)
    if origin not in origins:
        origins.append(origin)
    load_society(origin).with_parameters(audit.parameters)  # a parameter that there is not is an error here
    forkable = all(may_change(key, "fork") for key in audit.settings)
    return msgspec.structs.replace(
        arm, name=f"{audit.name}: {arm.name}", folder=_folder(place, audit, arm), society=origins.index(origin),
        parameters={**arm.parameters, **audit.parameters}, settings={**arm.settings, **audit.settings},
        base=arm.name if forkable else "", at_tick=0,
    )  # fmt: skip
