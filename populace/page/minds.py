"""Who may answer an interview held on the page: what the run's settings know, by name; never an address or a key."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from populace.agents.minds import KINDS, MODEL, RULES
from populace.core.errors import SettingsError
from populace.settings import Settings
from populace.store.folder import read_run_file

_EMBED: Final = "embed"
_KINDS: Final = {
    "embedded": "the embedded model (135 million parameters, on the page's machine)",
    "scripted": "the placebo: it reads nothing",
}
"""Models that every machine has, for runs whose own model is none."""


class Mind(msgspec.Struct, frozen=True):
    """A choice: its `name`, in words, and the `mind` of the run, or `kind` of model, that it stands for."""

    name: str
    about: str
    mind: str = ""
    kind: str | None = None


def minds_of(folder: Path) -> list[Mind]:
    """Who may answer, the agents' own minds first. Raises SettingsError for a run whose `run.json` is none."""
    settings = read_run_file(folder).read_settings()
    found = [Mind("", f"as in the run ({_own(settings)})")]
    if not settings.model.asks_nobody:
        found.append(Mind(MODEL, f"the run's model ({settings.model.label})", MODEL))
    for role in settings.model.roles:
        model = settings.of_role(role).model
        if role not in (*KINDS, _EMBED):
            found.append(Mind(role, f"the model role {role} ({model.label})", role))
    found.append(Mind(RULES, "the society's rules", RULES))
    if settings.model.asks_nobody:
        found += [Mind(kind, about, kind=kind) for kind, about in _KINDS.items()]
    return found


def find_mind(folder: Path, name: str) -> Mind:
    """The choice of a name. Raises SettingsError, naming those there are."""
    known = {one.name: one for one in minds_of(folder)}
    if name not in known:
        there = ", ".join(one for one in known if one)
        raise SettingsError(f"the run knows no model or mind {name!r} to answer; there are: {there}")
    return known[name]


def _own(settings: Settings) -> str:
    if settings.model.kind == RULES:
        return "rules"
    return settings.model.label if not settings.minds else f"{settings.model.label}, with minds by type"
