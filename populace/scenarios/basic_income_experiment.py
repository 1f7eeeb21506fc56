"""AgentSociety's third study (arXiv:2502.08691): what a basic income of 1,000 dollars a month does.

`populace experiment run basic_income --model rules --out study`. 100 households and five firms over ten years;
transfers begin in month 96, and figures are of the last 24 months or of the last one.
"""

from typing import Any

from populace.experiments import Arm, Each, Experiment, Outcome, Subgroup


def transfer(**how: str) -> list[dict[str, Any]]:
    """1,000 dollars a month from month 96 on."""
    how = {f"world.economy.transfer_{key}": one for key, one in how.items()}
    return [{"name": "transfer", "at": 96, "set": {"world.economy.transfer_cents": 100_000, **how}}]


experiment = Experiment(
    "basic_income",
    name="basic_income",
    question="Do people consume more and feel better under a basic income, and does it matter how it is paid for?",
    arms={
        "none": Arm(),
        "transfer": Arm(levers=transfer(), about="to all, of new money"),
        "flat": Arm(levers=transfer(funding="flat"), about="to all, by a levy in proportion to wages"),
        "progressive": Arm(levers=transfer(funding="progressive"), about="to all, by a levy as the income tax rises"),
        "targeted": Arm(levers=transfer(to="poorest_fifth"), about="to the poorest fifth, of new money"),
    },
    control="none",
    outcomes=[
        Outcome("consumption_two_years", direction={"transfer": "up"}),
        Outcome("distress", direction={"transfer": "down"}, bounds=(0, 30), each=Each("distress", missing=-1.0)),
        "output_two_years",
        Outcome("hours", bounds=(0, 300)),
        "price_index",
        "saving_rate",
        Outcome("support", bounds=(0, 1)),
    ],
    primary="consumption_two_years",
    subgroups=[Subgroup("wages_usd", parts=5, names=("poorest fifth", "second", "third", "fourth", "richest fifth"))],
    agents=100,
    ticks=120,
    replicates=20,
)
