"""AgentSociety's fourth study (arXiv:2502.08691): who still goes out as a hurricane comes, and who heeds a warning.

`populace experiment run hurricane --model rules --out study`. 100 residents over nine days in steps of three hours:
three calm ones, three of storm, three calm ones. Warnings are sent in the third day, the order to leave holds for the
storm's days.
"""

from typing import Any

from populace.experiments import Arm, Experiment, Outcome


def warning(source: str) -> dict[str, Any]:
    """A warning to all at the third day's beginning."""
    return {"name": source, "at": 16, "send": {"to": "all", "body": {"warning": 0.8, "source": source}}}


ORDER = {"name": "order", "at": 24, "until": 48, "set": {"world.city.evacuation": {"level": 20}}}

experiment = Experiment(
    "hurricane",
    name="hurricane",
    question="Do people stay in as a storm comes, are they back after it, and what do warnings and orders add?",
    arms={
        "none": Arm(parameters={"storm": False}, about="no storm"),
        "storm": Arm(about="a storm, and nobody warns"),
        "warning": Arm(levers=[warning("news")], about="the news warn ahead of it"),
        "official": Arm(levers=[warning("news"), warning("official")], about="officials warn, too"),
        "order": Arm(levers=[warning("news"), warning("official"), ORDER], about="and order all to leave"),
    },
    control="storm",
    outcomes=[
        Outcome("at_landfall", direction={"none": "up", "order": "down"}),
        Outcome("eve", direction={"warning": "down", "official": "down"}),
        "before",
        "after",
    ],
    primary="at_landfall",
    published={
        "at_landfall": {
            "storm": 0.37,
            "source": "arXiv:2502.08691, figure 23, by a third party; real 0.45",
        }
    },
    agents=100,
    ticks=72,
    replicates=20,
)
