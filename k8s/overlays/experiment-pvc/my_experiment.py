"""What is played: docs/guides/experiments.md."""

from populace.experiments import Arm, Experiment, Outcome

experiment = Experiment(
    "polarization",
    question="Does silencing a fifth of the citizens move opinions?",
    arms={
        "control": Arm(),
        "silenced": Arm(levers=[{"at": 4, "block": {"sender": {"share": 0.2}}}]),
    },
    outcomes=[Outcome("variance", direction={"silenced": "up"}), "moderated"],
    replicates=20,
    agents=200,
    ticks=10,
    settings={
        "journal": "machine",
        "model.kind": "openai",
        "model.name": "Qwen/Qwen2.5-7B-Instruct",
        "endpoint.base_url": "http://model:8000/v1",
        "endpoint.concurrency": 256,
    },
)
