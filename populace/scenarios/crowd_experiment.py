"""The wisdom of crowds: alone (Turing Experiments, arXiv:2208.10264), and hearing others (Lorenz and others 2011).

`populace experiment run crowd --model rules --out study`. 144 people in sessions of twelve answer five questions in
five rounds, as in doi:10.1073/pnas.1008636108. Who hears nothing is the control. `looked_up` is what the Turing
Experiments found of models that are trained to please: answers that are too exact for people's.
"""

from populace.experiments import Arm, Experiment, Outcome

ALONE = "52 people alone (Moussaïd and others 2013, doi:10.1371/journal.pone.0078433)"

experiment = Experiment(
    "crowd",
    name="crowd",
    question="Does hearing others' estimates make a crowd narrower without making it wiser?",
    arms={
        "alone": Arm(about="hears nothing of others between rounds"),
        "mean": Arm(parameters={"hears": "mean"}, about="hears the mean of the others in its session"),
        "all": Arm(parameters={"hears": "all"}, about="hears all answers of the others in its session"),
        "looked_up": Arm(parameters={"knows": "books"}, about="hears nothing, and looks the answers up"),
    },
    control="alone",
    outcomes=[
        Outcome("diversity", direction={"mean": "down", "all": "down", "looked_up": "down"}),
        Outcome("wisdom", direction={"mean": "down", "all": "down"}),
        "collective_error",
        Outcome("spread", direction={"looked_up": "down"}),
        Outcome("exact", direction={"looked_up": "up"}),
        "off",
    ],
    primary="diversity",
    published={
        "spread": {"alone": 1.08, "source": ALONE},
        "off": {"alone": 0.25, "source": ALONE},
        "exact": {"alone": 0.03, "source": ALONE},
    },
    agents=144,
    ticks=5,
    replicates=20,
)
