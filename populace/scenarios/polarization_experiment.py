"""AgentSociety's first study (arXiv:2502.08691): talk with the like-minded, and talk with the other side.

`populace experiment run polarization --model rules --out study`. 100 citizens and two persuaders, half of the citizens
at 3 and half at 7, twelve exchanges over three days. In both treatments friends don't talk; persuaders do.
"""

from populace.experiments import Arm, Each, Experiment, Outcome, Subgroup

SOURCE = "arXiv:2502.08691, and the project's documentation"
CITIZENS = {"speaks": ""}
EXTREME = Each("attitude", distance_from=5.0, read="rose", by=0.5, only=CITIZENS)

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
        Outcome("more_extreme", direction={"like_minded": "up", "opposing": "down"}, bounds=(0, 1), each=EXTREME),
        Outcome("moderated", direction={"like_minded": "down", "opposing": "up"}, bounds=(0, 1)),
        Outcome("crossed", direction={"opposing": "up"}, bounds=(0, 1)),
        Outcome("variance", bounds=(0, 25), each=Each("attitude", distance_from=5.0, only=CITIZENS)),
    ],
    primary="more_extreme",
    parameters={"persuaders": True, "arguments": 4, "start": "halves"},
    subgroups=[
        Subgroup("PID", cuts=(2.0, 5.0), names=("Democrats", "independents and leaners", "Republicans")),
        Subgroup("acceptance", cuts=(2.5,), names=("strong partisans", "others")),
    ],
    published={
        "more_extreme": {"friends": 0.39, "like_minded": 0.52, "source": SOURCE},
        "moderated": {"friends": 0.33, "opposing": 0.89, "source": SOURCE},
        "crossed": {"opposing": 0.11, "source": SOURCE},
    },
    agents=102,
    ticks=12,
    replicates=20,
)
