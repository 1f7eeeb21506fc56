"""The Turing Experiments' ultimatum game (arXiv:2208.10264): the lower the offer, the fewer accept it.

`populace experiment run ultimatum --model rules --out study`. 50 pairs of strangers split ten dollars once. In all arms
but one the experimenter sets the offer, as in the paper; in the last those who propose choose it themselves.
"""

from populace.experiments import Arm, Experiment, Outcome

SOURCE = (
    "people: a meta-analysis of 37 papers (Oosterbeek, Sloof and van de Kuilen 2004) for offers of one's own; "
    "of offers below 30 % about half are rejected (a summary of studies by C. Hauert)"
)

experiment = Experiment(
    "ultimatum",
    name="ultimatum",
    question="Are lower offers accepted less often, though to reject them costs whoever does?",
    arms={
        "half": Arm(parameters={"offer": 5}, about="half is offered"),
        "four": Arm(parameters={"offer": 4}),
        "three": Arm(parameters={"offer": 3}),
        "two": Arm(parameters={"offer": 2}),
        "one": Arm(parameters={"offer": 1}, about="a tenth is offered"),
        "own": Arm(about="who proposes chooses the offer"),
    },
    control="half",
    outcomes=[
        Outcome("accepted", direction={"four": "down", "three": "down", "two": "down", "one": "down"}),
        Outcome("offer", about="as a share; where the experimenter sets it, what was set"),
    ],
    primary="accepted",
    published={"accepted": {"own": 0.84, "two": 0.5, "source": SOURCE}, "offer": {"own": 0.40, "source": SOURCE}},
    agents=100,
    ticks=2,
    replicates=20,
)
