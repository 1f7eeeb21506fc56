"""populace: societies of LLM-driven agents that can be forked, replayed and trusted."""

import importlib
from typing import TYPE_CHECKING, Any, Final

from populace.agents.activation import Every, EveryTick, OnMail, Sometimes
from populace.agents.agent import Agent, Public
from populace.agents.answers import Choice, Chosen
from populace.agents.context import Context
from populace.agents.population import Population
from populace.agents.society import Parameters, Setup, Society
from populace.core.records import Abstained, Ask, Message
from populace.data.edge_lists import read_edge_list
from populace.env import World
from populace.models.safety import fence

if TYPE_CHECKING:
    from populace.runs.front import diff, estimate, fork, replay, resume, run, run_async
    from populace.runs.result import Run, load
    from populace.store.tables.tables import panel

__all__ = [
    "Abstained",
    "Agent",
    "Ask",
    "Choice",
    "Chosen",
    "Context",
    "Every",
    "EveryTick",
    "Message",
    "OnMail",
    "Parameters",
    "Population",
    "Public",
    "Run",
    "Setup",
    "Society",
    "Sometimes",
    "World",
    "diff",
    "estimate",
    "fence",
    "fork",
    "load",
    "panel",
    "read_edge_list",
    "replay",
    "resume",
    "run",
    "run_async",
]

_LATER: Final = {
    **dict.fromkeys(("diff", "estimate", "fork", "replay", "resume", "run", "run_async"), "populace.runs.front"),
    **dict.fromkeys(("Run", "load"), "populace.runs.result"),
    "panel": "populace.store.tables.tables",
}
"""Where stands what is loaded when it is first used: it takes longer than all the rest."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LATER[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
