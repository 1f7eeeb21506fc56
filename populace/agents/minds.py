"""Which mind answers the asks of a type of agents: the model, for each or by archetype, or rules. Pure.

A class of agents says which is its own (`Agent.mind`), and the settings switch it (`[minds]`), for all of its asks or
for those of a purpose. Whichever answers reads the same facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, TypeAlias

from populace.agents.agent import Agent
from populace.core.errors import ScenarioError, SettingsError

MODEL: Final = "model"
"""The mind that is the model: that of the ask's model role, of its type's, or of `[model]`."""
RULES: Final = "rules"
"""The mind that is the society's rules; also the model role under which they answer."""
ARCHETYPES: Final = "archetypes"
"""The mind that is the model, asked once a tick for all agents of the type that ask the same."""
SURROGATE: Final = "surrogate"
"""The mind that is a small model fitted to the model's answers while an audit bears it out, and else the model."""
KINDS: Final = (MODEL, RULES, ARCHETYPES, SURROGATE)
"""Minds that have a name of their own; any other is a model role."""
OTHERWISE: Final = ""
"""Stands for all purposes that are not named."""

Given: TypeAlias = str | Mapping[str, str]
"""A mind for all purposes, or minds by purpose."""
Minds: TypeAlias = Mapping[str, Mapping[str, str]]
"""By type of agent and purpose, the minds that are not the model."""


def resolve_minds(classes: Mapping[str, type[Agent]], given: Mapping[str, Given]) -> dict[str, dict[str, str]]:
    """The minds by type and purpose, those `given` by type, or class, before what the classes say.

    A mind for all purposes goes before what the class says of some. Raises ScenarioError for what a class says that is
    no mind, and SettingsError for what is given for a type that there is not.
    """
    found = {name: _own(kind) for name, kind in classes.items()}
    named = {kind.__name__: name for name, kind in classes.items()}
    for key, mind in given.items():
        name = key if key in classes else named.get(key)
        if name is None:
            near = get_close_matches(key, (*classes, *named), 1)
            meant = f" Is 'minds.{near[0]}' meant?" if near else ""
            raise SettingsError(f"minds.{key}: there is no such type of agents; there are {', '.join(classes)}.{meant}")
        # Every purpose that the class names is named, so that resolving again comes to the same.
        found[name] = (
            dict.fromkeys((*found[name], OTHERWISE), mind) if isinstance(mind, str) else {**found[name], **mind}
        )
    plain = {OTHERWISE: MODEL}
    return {name: minds for name, minds in found.items() if not minds == plain == _own(classes[name])}


def _own(kind: type[Agent]) -> dict[str, str]:
    """What a class of agents says of its minds."""
    if "mind" in kind.__struct_fields__:  # a field of its own
        return {OTHERWISE: MODEL}
    mind: Any = kind.mind
    if isinstance(mind, str):
        return {OTHERWISE: mind}
    if isinstance(mind, Mapping) and all(isinstance(one, str) for pair in mind.items() for one in pair):
        return dict(mind)
    raise ScenarioError(
        f'{kind.__name__}.mind = {mind!r:.100}: it has to be a mind, mind = "rules", or minds by purpose, '
        'mind = {"vote": "rules"}.'
    )


def named_minds(minds: Minds) -> set[str]:
    """All minds that are named anywhere."""
    return {mind for by_purpose in minds.values() for mind in by_purpose.values()}


def mind_of(minds: Mapping[str, str], purpose: str, model_role: str) -> str:
    """The mind that an ask of a type with these minds goes to; 'model' where it goes by its model role.

    A mind for a purpose holds for all asks of it. One for all purposes leaves those alone that name a model role.
    """
    mind = minds.get(purpose)
    if mind is None:
        mind = MODEL if model_role else minds.get(OTHERWISE, MODEL)
    return mind
