"""News on a platform, true and false: does fact-checking curb what is false? After MOSAIC (arXiv:2504.07830).

People are respondents of the American National Election Study 1996. In each tick a user reads the posts that it is
shown, as far as its attention goes, and likes, shares, comments, flags or ignores each; what it read moves its emotion
and its attitude (S3, arXiv:2307.14984). Some publish news. Labels come by the platform's moderation: readers' flags, a
fact-checker, or both. Arms, by `--set society.`: `moderation` none, community, third_party or hybrid; without an effect
of labels: `labels_shown=false` and `downrank=0`.

The check is of theory. The rule mind has limited attention, doubts what sounds odd by its skill, and heeds a label as
far as it trusts the platform; it isn't told which moderation there is, nor what is true.
"""

import math
from functools import partial
from typing import Any

import numpy as np

from populace import Abstained, Agent, Choice, Context, Parameters, Population, Public, Setup, Society, World
from populace.env import Network, Platform
from populace.env.feed.browsing import browse
from populace.env.feed.cascades import tail_exponent
from populace.env.feed.options import Moderation
from populace.scenarios import _newsfeed_rules as rules
from populace.scenarios._data import Share, prompts, respondents

TEXTS = prompts("newsfeed")
SYSTEM = TEXTS["system"].strip()
NEWS = {one["text"]: one for one in TEXTS["posts"]}
ARM = ("sees", "moderation", "flags_to_label", "check_share", "check_delay", "check_accuracy", "downrank")
"""The parameters that are settings of the platform."""
ALIKE = ("PID", "age", "educ")


class Dials(Parameters, frozen=True):
    """What makes an arm: `moderation` with its settings, and what labels do.

    Without `labels_shown` no reader can heed a label; `downrank` is the share of readers from whom labelled posts are
    kept, so that others take their places. A post is labelled by `flags_to_label` flags; the checker checks a share
    `check_share` of posts, is right in a share `check_accuracy`, and takes `check_delay` ticks. `publish` is the chance
    that a user publishes in a tick, `false_share` that it is false; `reactions` is how many posts it may react to in a
    tick. Ties: `mean_degree` a user, and by `homophily` (0: none) how alike neighbours are. `sees` is the recommender.
    """

    moderation: Moderation = "none"
    flags_to_label: int = 2
    check_share: Share = 0.5
    check_delay: int = 1
    check_accuracy: Share = 0.9
    labels_shown: bool = True
    downrank: Share = 0.8
    sees: str = "engagement"
    publish: Share = 0.3
    false_share: Share = 0.4
    reactions: int = 3
    mean_degree: float = 8.0
    homophily: float = 4.0


class User(Agent):
    """A respondent; `lean` by party and `attitude` by self-placement run from -1 (liberal) to 1 (conservative)."""

    profile: str
    lean: Public[float]
    skill: Public[float]
    trust: Public[float]
    budget: Public[int]
    attitude: Public[float]
    emotion: Public[str] = "calm"

    async def turn(self, ctx: Context) -> None:
        """Read and react, feel, publish."""
        dials = ctx.parameters
        news = [post for post in ctx.seen["feed.shown"] if post["text"] in NEWS]
        await browse(ctx, partial(self.react, ctx), news, most=dials.reactions)
        if read := [NEWS[post["text"]] for post in news]:
            facts = {"profile": self.profile, "emotion": self.emotion, "attitude": round(self.attitude, 2)}
            facts |= {"leans": [one["lean"] for one in read], "tones": [one["tone"] for one in read]}
            felt = await ctx.ask(TEXTS["feel"], rules.Feeling, facts=facts, system=SYSTEM, purpose="feel")
            if not isinstance(felt, Abstained):
                self.emotion, self.attitude = felt.emotion, float(min(1.0, max(-1.0, felt.attitude)))
        if (lot := ctx.draw("publish")).bernoulli(dials.publish):
            true = not lot.bernoulli(dials.false_share)
            kind = [one for one in NEWS.values() if one["true"] == true]
            one = lot.weighted(kind, [math.exp(-2.0 * abs(self.lean - one["lean"])) for one in kind])
            ctx.act("feed.post", text=one["text"], true=true)

    async def react(self, ctx: Context, post: dict[str, Any]) -> str | tuple[str, str] | None:
        """What to do with a post; the label counts as far as it is shown."""
        about, label = NEWS[post["text"]], (ctx.parameters.labels_shown and post["label"]) or "none"
        facts = {
            "profile": self.profile, "lean": round(self.lean, 2), "skill": round(self.skill, 2),
            "trust": round(self.trust, 2), "emotion": self.emotion, "post": post["text"], "post_lean": about["lean"],
            "oddness": about["odd"], "tone": about["tone"], "label": TEXTS["labels"][label],
        }  # fmt: skip
        answer = await ctx.ask(TEXTS["react"], Choice(*rules.ACTS), facts=facts, system=SYSTEM, purpose="react")
        if isinstance(answer, Abstained) or answer == "ignore":
            return None
        if answer != "comment":
            return str(answer.label)
        told = {"profile": self.profile, "post": post["text"]}
        said = await ctx.ask(TEXTS["comment"], str, facts=told, system=SYSTEM, purpose="comment", max_tokens=40)
        return None if isinstance(said, Abstained) or not said.strip() else ("comment", said)


def population(setup: Setup) -> Population:
    """Respondents drawn with replacement: lean by party, skill by schooling, trust and attention by news watched."""
    return respondents(setup, TEXTS["profile"].strip()).adding(
        lean=lambda row: (row["PID"] - 3.0) / 3.0,
        attitude=lambda row: (row["selfLR"] - 4.0) / 3.0,
        skill=lambda row: 0.15 + 0.7 * (row["educ"] - 1.0) / 6.0,
        trust=lambda row: 0.3 + 0.09 * row["TVnews"],
        budget=lambda row: 3 + int(row["TVnews"]),
    )


def world(setup: Setup, people: Population) -> World:
    """Ties that fall with distance in party, age and schooling, and a platform with the arm's moderation."""
    dials = setup.parameters
    degree, alike = min(dials.mean_degree, setup.agents - 1), {one: np.array(people[one]) for one in ALIKE}
    network = Network.homophily(setup, alike, mean_degree=degree, strength=dials.homophily)
    settings: Any = {name: getattr(dials, name) for name in ARM}
    return World(network, Platform(5_000, 10, attention="budget", memory=40, **settings))


society = Society(
    name="newsfeed",
    about="Users read true and false news on a platform that may be fact-checked, and spread it or flag it.",
    agent=User,
    population=population,
    world=world,
    parameters=Dials(),
    rules=rules.RULES,
    size=40,
    ticks=10,
    outcomes={
        "true_minus_false": lambda world: world.feed.margin("engagement"),
        "reach_of_false": lambda world: world.feed.count("views", true=False),
        "engagement": lambda world: world.feed.count("engagement"),
        "flags": lambda world: world.feed.count("flags"),
        "tail_exponent": lambda world: tail_exponent(world.feed.engaged(), least=2),
        "intense": lambda world: float(np.mean(np.array(world.columns["emotion"]) == "intense")),
    },
)
