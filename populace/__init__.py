"""populace: societies of LLM-driven agents that can be forked, replayed and trusted."""

from populace.agents.activation import Every, EveryTick, OnMail, Sometimes
from populace.agents.agent import Agent, Public
from populace.agents.answers import Choice, Chosen
from populace.agents.llm.safety import fence
from populace.agents.population import Population
from populace.agents.turn import Context
from populace.core.records import Abstained, Ask, Message
from populace.env import World
from populace.society import Parameters, Setup, Society

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
]
