"""AgentSociety's second study (arXiv:2502.08691): how far an inflammatory story goes, and what curbs it.

`populace experiment run outrage --model rules --out study`. 100 citizens, five days in steps of four hours. Suspension
waits for an account's third flagged message; cutting takes the tie that a flagged message went over.
"""

from populace.experiments import Arm, Audit, Experiment, Outcome

SUSPEND = {
    "name": "suspension",
    "when": {"agents": {"moderation.flagged": {"min": 3}}},
    "set": {"world.moderation.suspended": "matching"},
}
CUT = {"name": "cutting", "at": 0, "set": {"world.moderation.cutting": True}}
NOTICE = {"name": "notice", "at": 1, "send": {"to": [0], "body": "The library opens at nine."}}

experiment = Experiment(
    "outrage",
    name="outrage",
    question="Does an inflammatory story reach and stir more people, and which moderation curbs it?",
    arms={
        "inflammatory": Arm(about="told with heat, nobody moderates"),
        "neutral": Arm(parameters={"text": "neutral"}, about="told plainly, nobody moderates"),
        "cut": Arm(levers=[CUT], about="a tie is cut after a flagged message"),
        "suspend": Arm(levers=[SUSPEND], about="an account is suspended after its third flagged message"),
    },
    control="inflammatory",
    outcomes=[
        Outcome("reach", direction="down", bounds=(0, 1)),
        Outcome("arousal_so_far", direction="down"),
        Outcome("messages", direction="down"),
        Outcome("from_emotion", direction={"neutral": "down"}, bounds=(0, 1)),
    ],
    primary="reach",
    audits=[
        Audit("less susceptible", parameters={"susceptibility": 0.4}, about="each message stirs a fifth less"),
        Audit("sparser ties", parameters={"mean_degree": 6.0}, about="six ties a citizen and not eight"),
        Audit("a notice", levers=[NOTICE], about="a message that stirs nobody, to one citizen"),
    ],
    agents=100,
    ticks=30,
    replicates=20,
)
