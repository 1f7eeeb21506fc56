"""Generative Agent Simulations of 1,000 People (arXiv:2411.10109): what a twin is told, and how near it comes.

`populace experiment run panel --model rules --out study`. 100 respondents are surveyed twice, two weeks apart, and a
twin of each answers once; `--set agents.respondent=1000 --set agents.twin=1000` is the paper's size. Respondents answer
by their own leanings whatever model twins have.
"""

from typing import Literal

from populace.experiments import Arm, Experiment, Outcome

SOURCE = "arXiv:2411.10109, later version, as summaries have it; the first had 0.85 for interviews"
MORE: dict[str, Literal["up", "down"]] = {"persona": "up", "quarter": "up", "half": "up", "interview": "up"}

experiment = Experiment(
    "panel",
    name="panel",
    question="Does a twin that knows an interview answer more as its person does than one that knows demographics?",
    arms={
        "demographics": Arm(parameters={"about": "demographics"}, about="age, schooling and place"),
        "persona": Arm(parameters={"about": "persona"}, about="and three sentences in the person's words"),
        "quarter": Arm(parameters={"kept": 0.25}, about="and a quarter of the interview"),
        "half": Arm(parameters={"kept": 0.5}, about="and half of the interview"),
        "interview": Arm(about="and the whole interview"),
    },
    control="demographics",
    outcomes=[
        Outcome("normalised_accuracy", direction=MORE),
        Outcome("trait_correlation", direction=MORE),
        Outcome("gap_by_ideology", direction={"interview": "down"}),
        "wasserstein",
    ],
    primary="normalised_accuracy",
    published={"normalised_accuracy": {"demographics": 0.74, "interview": 0.83, "source": SOURCE}},
    agents={"respondent": 100, "twin": 100},
    ticks=18,
    replicates=20,
)
