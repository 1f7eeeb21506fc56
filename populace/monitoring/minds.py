"""What answered a run, in words: all minds at work, by type and purpose. Pure functions of a run's manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_BY_LOT: Final = "the placebo (answers of the right types, drawn by lot; it reads nothing of what it is asked)"
_OWN_NAMES: Final[Mapping[str, str]] = {
    "rules": "the society's rules",
    "archetypes": "the model, by archetype",
    "surrogate": "surrogates of the model",
}


def mind_of(manifest: Mapping[str, Any]) -> str:
    """What answered a run: a model by its name, a script, rules or the placebo, and what answered otherwise than it.

    `manifest` needs `answers`, `model` and `settings.minds`, as a run's has them; without minds one answered all.
    `answers` is '' where it is not known yet whether a script or the placebo answers.
    """
    usual = _kind_in_words(manifest["answers"], manifest["model"])
    others = _others(manifest)
    return f"{'; '.join(others)}; else {usual}" if others else usual


def goes_by_rules(manifest: Mapping[str, Any]) -> bool:
    """Whether rules answered some types or purposes of a run, and something else the others."""
    on_rules = any("rules" in minds.values() for minds in _minds(manifest).values())
    return on_rules and manifest["answers"] != "rules"


def _minds(manifest: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    given = manifest.get("settings", {}).get("minds") or {}
    return {of: {"": minds} if isinstance(minds, str) else dict(minds) for of, minds in given.items()}


def _others(manifest: Mapping[str, Any]) -> list[str]:
    roles, found = manifest.get("roles", {}), []
    for of, minds in _minds(manifest).items():
        by_mind: dict[str, list[str]] = {}
        for purpose, mind in minds.items():
            by_mind.setdefault(mind, []).append(purpose)
        for mind, purposes in by_mind.items():
            if mind == "model" or (mind == "rules" and manifest["answers"] == "rules"):
                continue
            whose = f"for {of!r}" if "" in purposes else f"for {', '.join(map(repr, purposes))} of {of!r}"
            about = roles.get(mind, {})
            words = _OWN_NAMES.get(mind) or _kind_in_words(about.get("answers", "openai"), about.get("model") or mind)
            but = [purpose for purpose, other in minds.items() if other != mind and "" in purposes]
            found.append(f"{words} {whose}{' but ' + ', '.join(map(repr, but)) if but else ''}")
    return found


def _kind_in_words(answers: str, name: str) -> str:
    match answers:
        case "":
            return "scripted answers (no model)"
        case "placebo":
            return _BY_LOT
        case "nothing":
            return "nothing (the society asked nothing)"
        case "scripted":
            return "the society's script (no model)"
        case "rules":
            return "a rule mind (the society's own rules; no model)"
        case "embedded":
            return f"the embedded model ({name})"
    return f"the model {name!r}"
