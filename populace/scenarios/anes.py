"""Respondents of the American National Election Study 1996 answer as themselves; their own answers are held out.

Each agent is another respondent. It is told age, schooling, income, place, television and party, and asked what the
respondent was asked, one question at a time and without memory of the others: the vote, and where one's self, Clinton
and Dole stand from liberal to conservative. `populace experiment score anes` holds its answers against the people's.
"""

from __future__ import annotations

from typing import Any

from populace import Abstained, Agent, Choice, Context, Parameters, Population, Public, Setup, Society, World
from populace.core.errors import ScenarioError
from populace.scenarios._anes_rules import RULES
from populace.scenarios._data import anes96, in_words, prompts

TEXTS = prompts("anes")
SYSTEM = TEXTS["system"].strip()
QUESTIONS = {item: text.strip().replace("{scale}", TEXTS["placement"].strip()) for item, text in
             TEXTS["questions"].items()}  # fmt: skip
KNOWN = ("popul", "TVnews", "PID", "age", "educ", "income")
"""Columns that an agent is told."""
ITEMS = {
    "vote": Choice("Clinton", "Dole"),
    **dict.fromkeys(("selfLR", "ClinLR", "DoleLR"), Choice(*"1234567")),
}
"""Columns that are held out, and what may be answered."""
LOWEST_INCOME_USD = (
    0, 3_000, 5_000, 7_000, 9_000, 10_000, 11_000, 12_000, 13_000, 14_000, 15_000, 17_000, 20_000, 22_000, 25_000,
    30_000, 35_000, 40_000, 45_000, 50_000, 60_000, 75_000, 90_000, 105_000,
)  # fmt: skip
"""The lower ends of the study's brackets of household income, 1 to 24."""


class Dials(Parameters, frozen=True):
    """`party`: whether an agent is told which party the respondent identifies with."""

    party: bool = True


class Respondent(Agent):
    """A person of the study, at row `respondent` of its table; public are its answers, by the study's codes.

    `vote` is 0 for Clinton and 1 for Dole, places run from 1 to 7; -1 stands for no answer.
    """

    person: str
    party: str
    respondent: Public[int]
    vote: Public[float] = -1.0
    selfLR: Public[float] = -1.0  # noqa: N815  # the study's names
    ClinLR: Public[float] = -1.0
    DoleLR: Public[float] = -1.0

    async def turn(self, ctx: Context) -> None:
        """Answer each question by itself."""
        for item, options in ITEMS.items():
            facts = {"person": self.person, "party": self.party}
            said = await ctx.ask(QUESTIONS[item], options, facts=facts, system=SYSTEM, purpose=item)
            if not isinstance(said, Abstained):
                setattr(self, item, float(options.labels.index(said.label) + (item != "vote")))


def in_person(row: dict[str, Any]) -> str:
    """What an agent is told of itself, but for its party."""
    bracket = int(row["income"]) - 1
    low = LOWEST_INCOME_USD[bracket]
    income = "less than $3,000" if bracket == 0 else f"at least ${low:,}" if bracket == 23 else f"about ${low:,}"
    place = "village" if row["popul"] < 10 else "town" if row["popul"] < 100 else "large city"
    return in_words(TEXTS["person"].strip(), {**row, "income_text": income, "place": place})


def population(setup: Setup) -> Population:
    """As many respondents as there are agents, each another one, in random order."""
    table = anes96()
    there = len(table["vote"])
    if setup.agents > there:
        raise ScenarioError(f"agents={setup.agents}: the study has {there} respondents, and each answers once")
    chosen = setup.draw("respondents").sample(range(there), setup.agents)
    rows = [{name: table[name][row] for name in KNOWN} for row in chosen]
    party = TEXTS["party"].strip("\n") if setup.parameters.party else ""
    return Population(
        {
            "respondent": chosen,
            "person": [in_person(row) for row in rows],
            "party": [in_words(party, row) for row in rows],
        }
    )


def share(item: str, value: float) -> Any:
    """An outcome: the share of answers to an item that are `value`; 0 where nobody answered."""

    def measured(world: World) -> float:
        answers = world.columns[item]
        told = answers[answers >= 0]
        return float((told == value).mean()) if len(told) else 0.0

    return measured


def no_answer(world: World) -> float:
    """The share of all questions that have no answer."""
    return float(sum((world.columns[item] < 0).mean() for item in ITEMS) / len(ITEMS))


def place(item: str) -> Any:
    """An outcome: the mean place, from 1 to 7; 0 where nobody answered."""

    def measured(world: World) -> float:
        answers = world.columns[item]
        told = answers[answers >= 0]
        return float(told.mean()) if len(told) else 0.0

    return measured


society = Society(
    name="anes",
    about="Respondents of the 1996 election study answer as themselves, to be scored against what they said.",
    agent=Respondent,
    population=population,
    parameters=Dials(),
    rules=RULES,
    size=40,
    ticks=1,
    outcomes={
        "dole": share("vote", 1.0),
        **{item: place(item) for item in ("selfLR", "ClinLR", "DoleLR")},
        "no_answer": no_answer,
    },
)
