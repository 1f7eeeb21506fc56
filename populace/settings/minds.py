"""Settings with the minds of a society's agents worked out: by type and purpose, and the model role of the rules."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches

from populace.agents.agent import Agent
from populace.agents.columnar import ColumnarAgent
from populace.agents.minds import KINDS, OTHERWISE, RULES, SURROGATE, named_minds, resolve_minds
from populace.agents.surrogate.policy import Policy
from populace.core.errors import SettingsError
from populace.settings.schema import RoleSettings, Settings


def with_minds(settings: Settings, classes: Mapping[str, type[Agent]]) -> Settings:
    """The settings for a society of these classes of agents: `minds` as its agents have them.

    Where rules are the mind of any, they are a model role. Settings that were worked out come back as they are.
    Raises SettingsError for a type that there is not and a mind that nothing is, and ScenarioError as `resolve_minds`.
    """
    minds = resolve_minds(classes, settings.minds)
    roles = settings.model.roles
    for name, by_purpose in minds.items():
        for purpose, mind in by_purpose.items():
            if mind not in KINDS and mind not in roles:
                at = f"minds.{name}.{purpose}" if purpose else f"minds.{name}"
                there = ", ".join((*KINDS, *(role for role in roles if role not in KINDS)))
                raise SettingsError(
                    f"{at} = {mind!r}: there is no such mind; there are {there}. Another model is a role of its own: "
                    f"[model.roles.{mind if mind.isidentifier() else 'other'}]."
                )
            if mind == SURROGATE and issubclass(classes[name], ColumnarAgent):
                raise SettingsError(
                    f"minds.{name}: agents in columns ask by archetype already, once for all that ask the same; a "
                    "surrogate is for agents with turns."
                )
    if RULES in named_minds(minds):
        own = RoleSettings(kind="rules", name="rules")
        if roles.get(RULES, own) != own:
            raise SettingsError(
                "model.roles.rules: the minds name the society's rules, which answer under the role 'rules': give "
                "that role another name."
            )
        settings = settings.model_copy(
            update={"model": settings.model.model_copy(update={"roles": {**roles, RULES: own}})}
        )
    return settings.model_copy(update={"minds": minds})


def purpose_notes(
    classes: Mapping[str, type[Agent]],
    minds: Mapping[str, Mapping[str, str]],
    rules: Collection[str],
    probes: Collection[str],
) -> list[str]:
    """What to tell of purposes that minds name and that look misspelt: none of a rule, a probe or what a class says.

    Purposes are texts that turns make, so that one that is not known here may be asked for all the same.
    """
    found = []
    for of, by_purpose in minds.items():
        known = {*rules, *resolve_minds(classes, {}).get(of, {})} - {OTHERWISE}
        for purpose, mind in by_purpose.items():
            if purpose == OTHERWISE or purpose in known or purpose in probes:
                continue
            if not known and mind != RULES:
                continue
            near = get_close_matches(purpose, sorted(known), 1, 0.5)
            meant = f" Is {near[0]!r} meant?" if near else f" Known are: {', '.join(sorted(known))}." if known else ""
            what = "has no rule, and rules are to answer it" if mind == RULES else "is one that nothing here names"
            found.append(f"minds.{of}.{purpose} = {mind!r}: the purpose {purpose!r} {what}.{meant}")
    return found


def plain_minds(settings: Settings) -> dict[str, dict[str, str]]:
    """The minds of settings that were worked out (`with_minds`), by type and purpose."""
    return {name: {"": mind} if isinstance(mind, str) else dict(mind) for name, mind in settings.minds.items()}


def policy_of(settings: Settings) -> Policy | None:
    """How surrogates go, by settings that were worked out; None where no mind is one."""
    if SURROGATE not in named_minds(plain_minds(settings)):
        return None
    return Policy(**settings.surrogate.model_dump())


def switched(text: str) -> tuple[str, str]:
    """`TYPE=MIND` or `TYPE.PURPOSE=MIND` as an assignment. Raises SettingsError for what is neither."""
    key, equals, mind = (part.strip() for part in text.partition("="))
    name, dot, purpose = key.partition(".")
    if not (equals and name and mind) or (dot and not purpose):
        raise SettingsError(f"--mind {text}: write it as TYPE=MIND or TYPE.PURPOSE=MIND, for example voter=rules")
    return f'minds.{name}."{purpose}"', mind
