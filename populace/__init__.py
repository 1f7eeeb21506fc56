"""populace: societies of LLM-driven agents that can be forked, replayed and trusted."""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from populace.agents.activation import Every, EveryTick, OnMail, Sometimes
    from populace.agents.agent import Agent, Public
    from populace.agents.answers import Choice, Chosen
    from populace.agents.archetypes import Answers
    from populace.agents.columnar import ColumnarAgent
    from populace.agents.columnar_context import ColumnarContext
    from populace.agents.consulting import Consultation
    from populace.agents.context import Context
    from populace.agents.people.distributions import Distributions
    from populace.agents.people.households import Households, assign_employers, sample_households
    from populace.agents.people.personas import Persona
    from populace.agents.people.weighting import Raked, rake
    from populace.agents.population import Population
    from populace.agents.society import Parameters, Setup, Society
    from populace.core.containers import OrderedSet
    from populace.core.fences import fence
    from populace.core.records import Abstained, Ask, Message
    from populace.core.rounds import Closed
    from populace.data.edge_lists import read_edge_list
    from populace.data.places import read_places
    from populace.data.tables import read_table
    from populace.env import World
    from populace.experiments.results import load
    from populace.runs.export import export_run as export
    from populace.runs.front import diff, estimate, fork, interview, replay, resume, run, run_async, survey
    from populace.runs.result import Run
    from populace.store.tables.tables import panel

__all__ = [
    "Abstained",
    "Agent",
    "Answers",
    "Ask",
    "Choice",
    "Chosen",
    "Closed",
    "ColumnarAgent",
    "ColumnarContext",
    "Consultation",
    "Context",
    "Distributions",
    "Every",
    "EveryTick",
    "Households",
    "Message",
    "OnMail",
    "OrderedSet",
    "Parameters",
    "Persona",
    "Population",
    "Public",
    "Raked",
    "Run",
    "Setup",
    "Society",
    "Sometimes",
    "World",
    "assign_employers",
    "diff",
    "estimate",
    "export",
    "fence",
    "fork",
    "interview",
    "load",
    "panel",
    "rake",
    "read_edge_list",
    "read_places",
    "read_table",
    "replay",
    "resume",
    "run",
    "run_async",
    "sample_households",
    "survey",
]

_FOUND_IN: Final = {
    "agents.activation": ("Every", "EveryTick", "OnMail", "Sometimes"),
    "agents.agent": ("Agent", "Public"),
    "agents.answers": ("Choice", "Chosen"),
    "agents.archetypes": ("Answers",),
    "agents.columnar": ("ColumnarAgent",),
    "agents.columnar_context": ("ColumnarContext",),
    "agents.consulting": ("Consultation",),
    "agents.context": ("Context",),
    "agents.people.distributions": ("Distributions",),
    "agents.people.households": ("Households", "assign_employers", "sample_households"),
    "agents.people.personas": ("Persona",),
    "agents.people.weighting": ("Raked", "rake"),
    "agents.population": ("Population",),
    "agents.society": ("Parameters", "Setup", "Society"),
    "core.containers": ("OrderedSet",),
    "core.records": ("Abstained", "Ask", "Message"),
    "core.rounds": ("Closed",),
    "data.edge_lists": ("read_edge_list",),
    "data.places": ("read_places",),
    "data.tables": ("read_table",),
    "env": ("World",),
    "core.fences": ("fence",),
    "runs.export": ("export",),
    "runs.front": (
        "diff",
        "estimate",
        "fork",
        "interview",
        "replay",
        "resume",
        "run",
        "run_async",
        "survey",
    ),
    "experiments.results": ("load",),
    "runs.result": ("Run",),
    "store.tables.tables": ("panel",),
}
"""Where the public names stand; each is loaded when it is first used, so that importing populace takes no time."""
_CALLED: Final = {"export": "export_run"}
"""What a public name is called in its room, where that is another: `runs.export` is a module."""
_MODULES: Final = ("env", "experiments", "mind", "probes", "testing")
_ROOM_OF: Final = {name: room for room, names in _FOUND_IN.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"populace.{name}")
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"populace.{_ROOM_OF[name]}"), _CALLED.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
