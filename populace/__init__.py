"""populace: societies of LLM-driven agents that can be forked, replayed and trusted."""

from typing import TYPE_CHECKING, Any

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
    "Setup",
    "Society",
    "Sometimes",
    "World",
    "fence",
    "panel",
    "read_edge_list",
]


def __getattr__(name: str) -> Any:
    """What reads tables is loaded when it is first used: pyarrow takes longer than all the rest."""
    if name == "panel":
        from populace.store.tables.tables import panel

        return panel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
