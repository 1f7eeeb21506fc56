"""Parts of a mind, as fields of an agent: memory, prompts within a budget, and faculties. Pure."""

from populace.agents.mind.attitudes import Attitude
from populace.agents.mind.emotions import Emotion, Intensity
from populace.agents.mind.experiences import Experiences
from populace.agents.mind.habits import Habits
from populace.agents.mind.memory import Memory, Recalled
from populace.agents.mind.needs import Need, Needs
from populace.agents.mind.plans import Plan, Routine, Step
from populace.agents.mind.prompt import Built, Dropped, Prompt, estimate_tokens
from populace.agents.mind.reflecting import memory_rules
from populace.agents.mind.risk import Risk
from populace.agents.mind.trust import DeltaTrust, Trust

__all__ = [
    "Attitude",
    "Built",
    "DeltaTrust",
    "Dropped",
    "Emotion",
    "Experiences",
    "Habits",
    "Intensity",
    "Memory",
    "Need",
    "Needs",
    "Plan",
    "Prompt",
    "Recalled",
    "Risk",
    "Routine",
    "Step",
    "Trust",
    "estimate_tokens",
    "memory_rules",
]
