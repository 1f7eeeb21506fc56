"""A panel is surveyed twice, two weeks apart, and twins answer for respondents of whom they have a text.

After "Generative Agent Simulations of 1,000 People" (arXiv:2411.10109). Respondents are voters of the American
National Election Study 1996, with traits by the loadings and correlations of 2,800 people's answers (`data/panel.md`).
A twin has one text about its respondent and nothing else. Its accuracy is divided by how often the respondent repeats
an answer. Arms, by `--set society.`: `about` demographics, persona or interview; `kept`, the share of the interview.

The check is of theory: an interview shows more of traits than a persona, and that more than demographics. The rule
mind reads what there is to read and isn't told the arm; where statements show nothing of traits (`candour=0`), more of
them is no help.
"""

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace import Abstained, Agent, Context, Parameters, Population, Setup, Society, World
from populace.probes import Probe
from populace.scenarios import _panel_rules as rules
from populace.scenarios._data import Share
from populace.scenarios._panel_people import people
from populace.scenarios._panel_world import APART, BLOCKS, SITTINGS, Panel

ANSWERS = [
    msgspec.defstruct(
        f"Sitting{at}", [(f"q{nth}", Literal[tuple(one.labels.values())]) for nth, one in enumerate(block, 1)]
    )
    for at, block in enumerate(BLOCKS)
]
"""What the questions of each sitting are answered by: a label each."""


class Dials(Parameters, frozen=True):
    """`about`: the text that a twin is given; `kept`: of an interview, the share that is told.

    `candour`: how much of a trait a statement of the interview shows, as a loading.
    """

    about: Literal["demographics", "persona", "interview"] = "interview"
    kept: Share = 1.0
    candour: Share = rules.SAYS


class Respondent(Agent):
    """Answers by its leanings, anew in each wave; probes of it are answered by the rules, whatever mind twins have."""

    leanings: dict[str, float]
    mind = "rules"

    async def turn(self, ctx: Context) -> None:
        """Answer the block of the day."""
        day = ctx.draw("day")
        steps = [
            (item.low, rules.answer(item, rules.leaning_now(self.leanings[item.name], day)))
            for item in BLOCKS[ctx.tick % APART]
        ]
        ctx.act("panel.answer", answers=[float(low + step) for low, step in steps])

    def interviewed(self, probe: Probe) -> dict[str, Any]:
        """Where it leans."""
        return {"leanings": self.leanings}


class Twin(Agent):
    """Stands for a respondent, of whom it has a text."""

    about: str

    async def turn(self, ctx: Context) -> None:
        """Answer the block of the day from the text."""
        block = BLOCKS[ctx.tick]
        facts = {"about": self.about, "questions": {f"q{nth}": rules.asked(item) for nth, item in enumerate(block, 1)}}
        system = rules.TEXTS["system"].strip()
        said = await ctx.ask(
            rules.TEXTS["block"], ANSWERS[ctx.tick], facts=facts, system=system, purpose="block", max_tokens=400
        )
        if not isinstance(said, Abstained):
            labels = msgspec.structs.astuple(said)
            ctx.act("panel.answer", answers=[item.value_of(one) for item, one in zip(block, labels, strict=True)])

    def interviewed(self, probe: Probe) -> str:
        """The text."""
        return self.about


class Sittings:
    """Everybody of a type is due on the days of sittings, in so many waves."""

    def __init__(self, waves: int) -> None:
        self.waves = waves

    def due(self, seed: int, tick: int, ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        """All or nobody."""
        return np.full(len(ids), tick // APART < self.waves and tick % APART < SITTINGS)


def world(setup: Setup, drawn: dict[str, Population]) -> World:
    """The survey, with groups by politics, age and schooling."""
    of = drawn["respondent"].columns
    side = ["liberal" if one < 4 else "moderate" if one == 4 else "conservative" for one in of["selfLR"]]
    age = ["under 45" if one < 45 else "45 and over" for one in of["age"]]
    school = ["college" if one >= 5 else "no college" for one in of["educ"]]
    return World(Panel({"ideology": side, "age": age, "schooling": school}))


society = Society(
    name="panel",
    about="Twins answer a survey for respondents of whom they have a text; respondents answer it twice.",
    types={"respondent": Respondent, "twin": Twin},
    population=people,
    world=world,
    parameters=Dials(),
    rules=rules.RULES,
    activation={"respondent": Sittings(2), "twin": Sittings(1)},
    size={"respondent": 100, "twin": 100},
    ticks=APART + SITTINGS,
    tick_seconds=86_400.0,
    outcomes={
        "normalised_accuracy": lambda world: world.panel.normalised_accuracy(),
        "accuracy": lambda world: world.panel.accuracy(),
        "consistency": lambda world: world.panel.consistency(),
        "trait_correlation": lambda world: world.panel.trait_correlation(),
        "retest_r": lambda world: world.panel.retest_r(),
        "wasserstein": lambda world: world.panel.wasserstein(),
        "gap_by_ideology": lambda world: world.panel.gap("ideology"),
        "gap_by_age": lambda world: world.panel.gap("age"),
        "gap_by_schooling": lambda world: world.panel.gap("schooling"),
    },
)
