"""A story spreads among friends, told plainly or with heat; accounts are suspended or ties cut. After AgentSociety.

Three citizens are asked to tell others. Who hears of it is stirred, calms down again, and passes it on or not, with
more heat or less; at the end those who did say why. People are respondents of the American National Election Study
1996. The paper is arXiv:2502.08691. Arms: `--set society.text=neutral` or inflammatory; and for heated messages levers:
`when={agents={moderation.flagged={min=3}}}, set={world.moderation.suspended="matching"}` suspends an account after its
third, `at=0, set={world.moderation.cutting=true}` cuts the tie that one went over.

The check is of theory: complex contagion, in which arousal adds up and makes one share. No rule is told who moderates.
"""

from typing import Any, Literal

import numpy as np

from populace import Abstained, Agent, Choice, Context, Parameters, Population, Public, Setup, Society, World
from populace.env import Network
from populace.scenarios import _outrage_rules as rules
from populace.scenarios._data import Share, prompts, respondents
from populace.scenarios._outrage_world import Moderation

TEXTS = prompts("outrage")
SYSTEM = TEXTS["system"].strip()
ALIKE = ("PID", "age", "educ")


class Dials(Parameters, frozen=True):
    """`text` is how the story is told to the `seeds` who pass it on; messages from `flag_from` of heat on are flagged.

    `susceptibility` is how far a message of full heat over the strongest tie stirs the calm, on average; of arousal a
    share `keeps` is left after a tick. Ties: `mean_degree` a citizen, and by `homophily` how alike friends are. The
    interview is in tick `interview`.
    """

    text: Literal["neutral", "inflammatory"] = "inflammatory"
    seeds: int = 3
    susceptibility: Share = 0.5
    keeps: Share = 0.8
    flag_from: float = 0.5
    mean_degree: float = 8.0
    homophily: float = 4.0
    interview: int = 29


class Citizen(Agent):
    """`arousal` and `duty` go from 0 to 1; `stirred` is the sum of arousal over ticks, `felt` over tellings."""

    profile: str
    duty: Public[float]
    stirs: float
    told: Public[bool] = False
    informed: Public[bool] = False
    arousal: Public[float] = 0.0
    stirred: Public[float] = 0.0
    tellings: Public[int] = 0
    felt: float = 0.0
    motive: Public[str] = ""

    async def turn(self, ctx: Context) -> None:
        """Hear, be stirred, pass it on; in the interview say why."""
        dials = ctx.parameters
        self.arousal *= dials.keeps
        heard = [message.body for message in ctx.inbox if isinstance(message.body, dict) and "heat" in message.body]
        if self.told:
            heard = [*heard, {**TEXTS["news"][dials.text], "tie": 0.0}]
        if heard:
            self.informed = True
            await self.react(ctx, [{name: one[name] for name in ("text", "heat", "tie")} for one in heard])
        self.stirred += self.arousal
        if ctx.tick == dials.interview and self.tellings:
            facts = {"profile": self.profile, "duty": self.duty, "felt": round(self.felt / self.tellings, 2)}
            why = await ctx.ask(
                TEXTS["motive"], Choice("emotion", "duty"), facts=facts, system=SYSTEM, purpose="motive"
            )
            self.motive = "" if isinstance(why, Abstained) else why.label

    async def react(self, ctx: Context, heard: list[dict[str, Any]]) -> None:
        """Feel and tell."""
        friends = await ctx.look("moderation.friends")
        facts = {
            "profile": self.profile, "arousal": round(self.arousal, 2), "stirs": self.stirs, "duty": self.duty,
            "friends": len(friends["agents"]), "told": TEXTS["told" if self.told else "not_told"], "heard": heard,
        }  # fmt: skip
        answer = await ctx.ask(TEXTS["react"], rules.Reaction, facts=facts, system=SYSTEM, purpose="react")
        if isinstance(answer, Abstained):
            return
        self.arousal, heat = (float(min(1.0, max(0.0, one))) for one in (answer.arousal, answer.heat))
        ids, ties, lot = list(friends["agents"]), list(friends["ties"]), ctx.draw("friends")
        count = min(max(0, answer.tell), len(ids), 10)
        for _ in range(count):
            at = lot.weighted(range(len(ids)), ties)
            ctx.act("moderation.tell", to=ids.pop(at), text=answer.text[:300], heat=heat)
            ties.pop(at)
        if count:
            self.tellings += 1
            self.felt += self.arousal


def population(setup: Setup) -> Population:
    """Respondents drawn with replacement; who watches more news feels more of a duty; seeds and temper by lot."""
    dials, lot = setup.parameters, setup.draw("temper")
    seeds = set(setup.draw("seeds").sample(range(setup.agents), min(dials.seeds, setup.agents)))
    people = respondents(setup, TEXTS["profile"].strip()).adding(
        duty=lambda row: round(row["TVnews"] / 7.0, 2),
        stirs=lambda row: round(min(1.0, dials.susceptibility * lot.uniform(0.5, 1.5)), 2),
    )
    columns = {**people.columns, "told": [at in seeds for at in range(setup.agents)]}
    return Population(columns, extra=people.extra)


def world(setup: Setup, people: Population) -> World:
    """Friendships that fall with distance in party, age and schooling; each has a strength, by lot from 0.2 to 1."""
    dials = setup.parameters
    degree, alike = min(dials.mean_degree, setup.agents - 1), {one: np.array(people[one]) for one in ALIKE}
    made = Network.homophily(setup, alike, mean_degree=degree, strength=dials.homophily).out
    source, target = made.sources(), made.targets
    once = source < target
    ends = source[once], target[once]
    strength = 0.2 + 0.8 * setup.draw.column("ties", np.arange(len(ends[0])))
    return World(Network.edges(setup, *ends, strength, mutual=True), Moderation())


def motive(name: str, world: World) -> float:
    """The share of those interviewed who name a motive; NaN before the interview."""
    said = np.array(world.columns["motive"])
    asked = said != ""
    return float(np.mean(said[asked] == name)) if asked.any() else float("nan")


society = Society(
    name="outrage",
    about="A story is told among friends, plainly or with heat, while accounts are suspended or ties cut.",
    agent=Citizen,
    population=population,
    world=world,
    parameters=Dials(),
    rules=rules.RULES,
    outcomes={
        "reach": lambda world: float(np.mean(world.columns["informed"])),
        "arousal": lambda world: float(np.mean(world.columns["arousal"])),
        "arousal_so_far": lambda world: float(np.mean(world.columns["stirred"])) / (world.tick + 1),
        "messages": lambda world: world.moderation.sent,
        "suspended": lambda world: len(world.moderation.suspended),
        "cut_ties": lambda world: world.moderation.cut_ties(),
        "from_emotion": lambda world: motive("emotion", world),
        "from_duty": lambda world: motive("duty", world),
    },
    size=100,
    ticks=30,
    tick_seconds=14_400.0,
)
