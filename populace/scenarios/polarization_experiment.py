"""AgentSociety's first study (arXiv:2502.08691): talk with the like-minded, and talk with the other side.

`populace experiment run polarization --model rules --out study`. 100 citizens and two persuaders, half of the citizens
at 3 and half at 7, twelve exchanges over three days. In both treatments friends don't talk; persuaders do.
"""

from populace.experiments import Arm, Experiment, Outcome

SOURCE = "arXiv:2502.08691, and the project's documentation"

experiment = Experiment(
    "polarization",
    name="polarization",
    question="Does talk with the like-minded make people more extreme, and talk with the other side more moderate?",
    arms={
        "friends": Arm(about="friends talk, nobody persuades"),
        "like_minded": Arm(parameters={"contact": "like_minded"}, about="each hears the persuader of its own side"),
        "opposing": Arm(parameters={"contact": "opposing"}, about="each hears the persuader of the other side"),
    },
    control="friends",
    outcomes=[
        Outcome("more_extreme", direction={"like_minded": "up", "opposing": "down"}),
        Outcome("moderated", direction={"like_minded": "down", "opposing": "up"}),
        Outcome("crossed", direction={"opposing": "up"}),
        "variance",
    ],
    primary="more_extreme",
    parameters={"persuaders": True, "arguments": 4, "start": "halves"},
    published={
        "more_extreme": {"friends": 0.39, "like_minded": 0.52, "source": SOURCE},
        "moderated": {"friends": 0.33, "opposing": 0.89, "source": SOURCE},
        "crossed": {"opposing": 0.11, "source": SOURCE},
    },
    agents=102,
    ticks=12,
    replicates=20,
)
