"""Citizens of the 1996 election study debate in groups, within a tick: do they converge, drift, or give in.

After DEBATE (arXiv:2510.25110: simulated groups converge too early), Systematic Biases in Debates (2402.04049: agents
drift to the model's own bias in spite of their role) and The High Cost of Incivility (2512.08345: rude debates are
longer). Arms, all by `--set society.`: `stubbornness`, `conformity` (people .9 and .15, models .1 and .5), `size` 2 or
4; `prior_pull`, `same_party`, `neutral`; and `toxic` 0, 1 or 2 with
`size=2 protocol=alternate ends=one turns=60 receptiveness=.25`.

The check is of a model artefact: on rules these directions are nearly parameters of the mind (Friedkin and Johnsen
1990), and where they are people's there is neither convergence nor drift. So the society measures them: `anchoring`,
`others_weight` and `prior_pull` are estimated from what was said in public, whatever mind said it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from populace import Abstained, Agent, Context, Parameters, Population, Public, Setup, Society, World
from populace.env import Talk
from populace.env.talk import converse
from populace.scenarios import _debate_measures as measures
from populace.scenarios._data import Count, Share, in_words, prompts, respondents
from populace.scenarios._debate_rules import RULES
from populace.scenarios._debate_text import Turn, spoken

TEXTS = prompts("debate")
SYSTEM = TEXTS["system"].strip()


class Dials(Parameters, frozen=True):
    """Traits, 0 to 1, are means over debaters, who differ by `trait_sd`; `ends` is all, one or none, who must give in.

    Groups of `size` debate for up to `turns` turns each. Stances run from 1 to 6, as does `prior`, to which a mind is
    drawn by `prior_pull`; `dissent_cost` draws what is said in public to the others.

    `toxicity` is the share of rude turns of the first `toxic` members of a group; `neutral` the share of debaters
    without a party or a side.
    """

    issue: str = "The government should provide fewer services, even in areas such as health and education."
    size: Count = 4
    turns: Count = 12
    protocol: str = "all"
    ends: str = "none"
    same_party: bool = False
    neutral: float = 0.0
    stubbornness: Share = 0.9
    conformity: Share = 0.15
    dissent_cost: float = 0.1
    receptiveness: float = 0.0
    trait_sd: float = 0.05
    toxic: int = 0
    toxicity: Share = 0.5
    prior: float = 2.0
    prior_pull: float = 0.0


class Debater(Agent):
    """Stances run from 1 (wholly against) to 6 (wholly in favour); `before` and `first_said` are the debate's first."""

    profile: str
    party: Public[str]
    start: Public[float]
    stance: Public[float]
    public_stance: Public[float]
    before: Public[float] = 0.0
    first_said: Public[float] = 0.0
    stubbornness: Public[float] = 0.0
    conformity: Public[float] = 0.0
    receptiveness: Public[float] = 0.0

    async def turn(self, ctx: Context) -> None:
        """Debate to the end."""
        dials, heard, known = ctx.parameters, 0, False
        self.before = self.stance

        async def speak(now: dict[str, Any]) -> dict[str, Any] | None:
            nonlocal heard, known
            lines, heard = now["lines"][heard:], len(now["lines"])
            toxic = now["members"].index(ctx.id) < dials.toxic
            facts = {
                **{name: round(getattr(self, name), 3) for name in TRAITS},
                **{name: getattr(dials, name) for name in ("issue", "dissent_cost", "prior", "prior_pull")},
                "profile": self.profile,
                "toxicity": dials.toxicity if toxic else 0.0,
                "heard": [line["text"] for line in lines if line["speaker"] != ctx.id],
            }
            said = await ctx.ask(TEXTS["turn"], Turn, facts=facts, system=SYSTEM, purpose="turn", max_tokens=120)
            if isinstance(said, Abstained) or not said.argument.strip():
                return None
            self.stance, self.public_stance = (min(max(one, 1.0), 6.0) for one in (said.private, said.public))
            if not known:
                self.first_said, known = self.public_stance, True
            clipped = Turn(said.argument[:2_000], self.stance, self.public_stance, said.gives_in)
            return {"say": spoken(clipped), "agree": said.gives_in}

        await converse(ctx, speak)


TRAITS = ("start", "stance", "stubbornness", "conformity", "receptiveness")


def population(setup: Setup) -> Population:
    """Respondents drawn with replacement; their place from liberal to conservative is their stance at the start."""
    dials, draw = setup.parameters, setup.draw("debaters")
    people = respondents(setup).adding(party=lambda row: "none" if draw.bernoulli(dials.neutral) else side(row["PID"]))

    def place(row: dict[str, Any]) -> float:
        return 3.5 if row["party"] == "none" else 1.0 + 5.0 * (row["selfLR"] - 1.0) / 6.0

    def trait(row: dict[str, Any], mean: float) -> float:
        return min(max(mean + draw.normal(0.0, dials.trait_sd * (mean > 0)), 0.0), 1.0)

    return people.adding(
        profile=lambda row: in_words(TEXTS["neutral" if row["party"] == "none" else "profile"], row),
        **dict.fromkeys(("start", "stance", "public_stance"), place),
        **{name: partial(trait, mean=getattr(dials, name)) for name in TRAITS[2:]},
    )


def side(pid: float) -> str:
    """A party by the study's identification from 0 (strong Democrat) to 6 (strong Republican)."""
    return "Democrat" if pid < 3 else "Republican" if pid > 3 else "independent"


def world(setup: Setup, people: Population) -> World:
    """New groups in each tick; a whole debate within it."""
    dials = setup.parameters
    return World(
        Talk(
            dials.size, protocol=dials.protocol, cap=dials.turns, agreement=dials.ends,
            within="party" if dials.same_party else None, memory=max(100, dials.turns * dials.size),
            keep=max(1, setup.agents * dials.turns),
        )
    )  # fmt: skip


society = Society(
    name="debate",
    about="Respondents of 1996 debate in groups; convergence, drift to a prior, and who gives in.",
    agent=Debater,
    population=population,
    world=world,
    parameters=Dials(),
    rules=RULES,
    size=40,
    ticks=2,
    outcomes=measures.OUTCOMES,
)
