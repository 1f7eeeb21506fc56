"""What answered in an experiment's runs, named as what it is. Pure functions of manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_BY_LOT: Final = "the placebo (answers of the right types, drawn by lot; it reads nothing of what it is asked)"
_CLAIMS: Final[Mapping[str, str]] = {
    "placebo": "No model was asked: what differs here is what the society's mechanics do with answers drawn by lot. It "
    "says nothing of models or of people.",
    "scripted": "No model was asked: what differs here is what the society's script says. It says nothing of models or "
    "of people.",
    "rules": "No model was asked: what differs here is what the theory in the society's rules says. It says nothing of "
    "models or of people.",
    "embedded": "The embedded model has 135 million parameters unless another file was named: this shows what that "
    "model does in this society, and that the machine works. It says nothing of people.",
    "openai": "This is what this model does in this society. It says nothing of people, nor of another model.",
}


def mind_of(manifest: Mapping[str, Any]) -> str:
    """What answered a run, in words: a rule mind, a script, the placebo, or a model by its name."""
    answers, name = manifest["answers"], manifest["model"]
    match answers:
        case "placebo":
            return _BY_LOT
        case "scripted":
            return "the society's script (no model)"
        case "rules":
            return "a rule mind (the society's own rules; no model)"
        case "embedded":
            return f"the embedded model ({name})"
    return f"the model {name!r}"


def minds_of(manifests: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """What answered, by arm where arms differ in it."""
    by_arm = {arm: " and ".join(dict.fromkeys(map(mind_of, of))) for arm, of in manifests.items()}
    if len(set(by_arm.values())) == 1:
        return next(iter(by_arm.values()))
    return "; ".join(f"in {arm!r} {mind}" for arm, mind in by_arm.items())


def claims_of(manifests: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """How far what was found goes, by what answered."""
    kinds = dict.fromkeys(one["answers"] for of in manifests.values() for one in of)
    return [_CLAIMS[kind] for kind in kinds if kind in _CLAIMS]


def roles_of(manifests: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Model roles that were asked, each with what answered it."""
    said = dict[str, None]()
    for one in (one for of in manifests.values() for one in of):
        for role, about in one.get("roles", {}).items():
            if role in one["asks"].get("by_role", {}):
                said[f"role {role!r}: {about.get('model') or about['answers']} ({about['answers']})"] = None
    return list(said)
