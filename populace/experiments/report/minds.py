"""What answered in an experiment's runs, named as what it is. Pure functions of manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from populace.monitoring.minds import goes_by_rules, mind_of

_CLAIMS: Final[Mapping[str, str]] = {
    "placebo": "No model was asked: what differs here is what the society's mechanics do with answers drawn by lot. It "
    "says nothing of models or of people.",
    "nothing": "The society asks nothing: what differs here is what its code says. It says nothing of models or of "
    "people.",
    "scripted": "No model was asked: what differs here is what the society's script says. It says nothing of models or "
    "of people.",
    "rules": "No model was asked: what differs here is what the theory in the society's rules says. It says nothing of "
    "models or of people.",
    "embedded": "The embedded model has 135 million parameters unless another file was named: this shows what that "
    "model does in this society, and that the machine works. It says nothing of people.",
    "openai": "This is what this model does in this society. It says nothing of people, nor of another model.",
}

_BESIDE: Final = "What types and purposes on the society's rules do is what the theory in those rules says."


def minds_of(manifests: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """What answered, by arm where arms differ in it."""
    by_arm = {arm: " and ".join(dict.fromkeys(map(mind_of, of))) for arm, of in manifests.items()}
    if len(set(by_arm.values())) == 1:
        return next(iter(by_arm.values()))
    return "; ".join(f"in {arm!r} {mind}" for arm, mind in by_arm.items())


def claims_of(manifests: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """How far what was found goes, by what answered."""
    every = [one for of in manifests.values() for one in of]
    kinds = dict.fromkeys(one["answers"] for one in every)
    ruled = [_BESIDE] if any(map(goes_by_rules, every)) else []
    return [*(_CLAIMS[kind] for kind in kinds if kind in _CLAIMS), *ruled]


def roles_of(manifests: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Model roles that were asked, each with what answered it."""
    said = dict[str, None]()
    for one in (one for of in manifests.values() for one in of):
        for role, about in one.get("roles", {}).items():
            if role in one["asks"].get("by_role", {}):
                said[f"role {role!r}: {about.get('model') or about['answers']} ({about['answers']})"] = None
    return list(said)
