"""News on a platform, true and false: does fact-checking curb what is false? After MOSAIC (arXiv 2504.07830).

People are respondents of the American National Election Study 1996. In each tick a user reads the posts that it is
shown, as far as its attention goes, and likes, shares, comments, flags or ignores each; what it read moves its emotion
and its attitude. Some publish news. Labels come by the platform's moderation: readers' flags, a fact-checker, or both.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import numpy as np

from populace import Abstained, Agent, Choice, Context, Parameters, Population, Public, Setup, Society, World
from populace.env import Network, Platform
from populace.env.feed.cascades import tail_exponent
from populace.env.feed.options import Moderation
from populace.scenarios._data import anes96, prompts

TEXTS = prompts("newsfeed")
SYSTEM = TEXTS["system"].strip()
NEWS = {one["text"]: one for one in TEXTS["posts"]}
MOODS = ("calm", "moderate", "intense")
ACTS = ("like", "share", "comment", "flag", "ignore")
Mood = Literal["calm", "moderate", "intense"]


class Dials(Parameters, frozen=True):
    """What makes an arm: `moderation` with its settings, and what labels do.

    Without `labels_shown` no reader can heed a label; `downrank` is the share of readers from whom labelled posts are
    kept, so that others take their places.
    `publish` is how often a user publishes in a tick, `false_share` how often that is false; `reactions` is how many
    posts it may react to in a tick.
    """

    moderation: Moderation = "none"
    flags_to_label: int = 2
    check_share: float = 0.5
    check_delay: int = 1
    check_accuracy: float = 0.9
    labels_shown: bool = True
    downrank: float = 0.8
    sees: str = "engagement"
    publish: float = 0.3
    false_share: float = 0.4
    reactions: int = 3
    mean_degree: float = 8.0
    homophily: float = 4.0


class Feeling(msgspec.Struct):
    """How a user feels, and where it stands from -1 (liberal) to 1 (conservative)."""

    emotion: Mood
    attitude: float


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
        dials, shown = ctx.parameters, ctx.seen["feed.shown"]
        news = [post for post in shown if post["text"] in NEWS]
        left = dials.reactions
        for post in news:
            if left:
                left -= await self.react(ctx, post)
        if news:
            ctx.act("feed.read", posts=[post["id"] for post in news])
            await self.feel(ctx, [NEWS[post["text"]] for post in news])
        lot = ctx.draw("publish")
        if lot.bernoulli(dials.publish):
            true = not lot.bernoulli(dials.false_share)
            kind = [one for one in NEWS.values() if one["true"] == true]
            one = lot.weighted(kind, [math.exp(-2.0 * abs(self.lean - one["lean"])) for one in kind])
            ctx.act("feed.post", text=one["text"], true=true)

    async def react(self, ctx: Context, post: dict[str, Any]) -> bool:
        """React to a post; whether it took one of the tick's reactions."""
        about = NEWS[post["text"]]
        label = TEXTS["labels"][(ctx.parameters.labels_shown and post["label"]) or "none"]
        facts = {
            "profile": self.profile, "lean": round(self.lean, 2), "skill": round(self.skill, 2),
            "trust": round(self.trust, 2), "emotion": self.emotion, "post": post["text"], "post_lean": about["lean"],
            "oddness": about["odd"], "tone": about["tone"], "label": label,
        }  # fmt: skip
        answer = await ctx.ask(TEXTS["react"], Choice(*ACTS), facts=facts, system=SYSTEM, purpose="react")
        act = "ignore" if isinstance(answer, Abstained) else answer.label
        if act == "comment":
            told = {"profile": self.profile, "post": post["text"]}
            said = await ctx.ask(TEXTS["comment"], str, facts=told, system=SYSTEM, purpose="comment", max_tokens=40)
            if isinstance(said, Abstained) or not said.strip():
                return False
            ctx.act("feed.post", text=said, reply_to=post["id"])
        elif act != "ignore":
            ctx.act(f"feed.{act}", post=post["id"])
        return act != "ignore"

    async def feel(self, ctx: Context, read: list[dict[str, Any]]) -> None:
        """Let what was read move emotion and attitude."""
        facts = {
            "profile": self.profile, "emotion": self.emotion, "attitude": round(self.attitude, 2),
            "leans": [one["lean"] for one in read], "tones": [one["tone"] for one in read],
        }  # fmt: skip
        felt = await ctx.ask(TEXTS["feel"], Feeling, facts=facts, system=SYSTEM, purpose="feel")
        if not isinstance(felt, Abstained):
            self.emotion, self.attitude = felt.emotion, float(min(1.0, max(-1.0, felt.attitude)))


def react(facts: dict[str, Any], draw: Any) -> str:
    """Limited attention and signal detection (Green and Swets 1966): what sounds odd is doubted, by skill.

    Agreement and arousal make one engage; doubt, and a label as far as the platform is trusted, keep one from it. One
    flags what one doubts, more readily where it goes against one's lean.
    """
    heard = facts["oddness"] + draw.normal(0.0, 0.5 * (1.0 - facts["skill"]))
    doubt = 1.0 / (1.0 + math.exp(-8.0 * (heard - 0.65)))
    if facts["label"] != TEXTS["labels"]["none"]:
        doubt = 1.0 - (1.0 - doubt) * (1.0 - facts["trust"])
    apart = abs(facts["lean"] - facts["post_lean"]) / 2.0
    arousal = 0.5 + 0.25 * (MOODS.index(facts["emotion"]) + MOODS.index(facts["tone"])) / 2.0
    engages = arousal * (1.0 - doubt) * (1.0 - 0.7 * apart)
    weights = [0.5 * engages, 0.35 * engages, 0.15 * engages, 0.5 * doubt * facts["skill"] * (0.3 + 0.7 * apart)]
    return str(draw.weighted(ACTS, [*weights, max(0.0, 1.0 - sum(weights))]))


def feel(facts: dict[str, Any], draw: Any) -> Feeling:
    """Emotion as a chain of three states that exposure drives (S3, 2307.14984); attitude as bounded confidence.

    A tone above one's emotion lifts it by one state, a calmer stream lets it fall; posts within 0.8 of one's attitude
    draw it a tenth of the way (Deffuant et al. 2000).
    """
    now, tones = MOODS.index(facts["emotion"]), [MOODS.index(tone) for tone in facts["tones"]]
    mean = sum(tones) / len(tones)
    step = (mean > now) - (mean < now)
    mood = now + step * draw.bernoulli(min(1.0, abs(mean - now) / 2.0))
    near = [lean for lean in facts["leans"] if abs(lean - facts["attitude"]) < 0.8]
    pull = 0.1 * (sum(near) / len(near) - facts["attitude"]) if near else 0.0
    return Feeling(emotion=MOODS[mood], attitude=facts["attitude"] + pull)  # type: ignore[arg-type]


def population(setup: Setup) -> Population:
    """Respondents drawn with replacement: lean by party, skill by schooling, trust and attention by news watched."""
    table, people = anes96(), TEXTS["people"]
    return Population.sample(table, setup.agents, setup.draw("respondents"), extra=table).adding(
        lean=lambda row: (row["PID"] - 3.0) / 3.0,
        attitude=lambda row: (row["selfLR"] - 4.0) / 3.0,
        skill=lambda row: 0.15 + 0.7 * (row["educ"] - 1.0) / 6.0,
        trust=lambda row: 0.3 + 0.09 * row["TVnews"],
        budget=lambda row: 3 + int(row["TVnews"]),
        profile=lambda row: TEXTS["profile"].strip().format(
            **row, school=people["schools"][int(row["educ"]) - 1], party=people["parties"][int(row["PID"])]
        ),
    )  # fmt: skip


def world(setup: Setup, people: Population) -> World:
    """Ties that fall with distance in party, age and schooling, and a platform with the arm's moderation."""
    dials = setup.parameters
    alike = {name: np.array(people[name]) for name in ("PID", "age", "educ")}
    degree = min(dials.mean_degree, setup.agents - 1)
    feed = Platform(
        5_000, 10, sees=dials.sees, attention="budget", memory=40, moderation=dials.moderation,
        flags_to_label=dials.flags_to_label, check_share=dials.check_share, check_delay=dials.check_delay,
        check_accuracy=dials.check_accuracy, downrank=dials.downrank,
    )  # fmt: skip
    return World(Network.homophily(setup, alike, mean_degree=degree, strength=dials.homophily), feed)


def counted(kind: str, true: bool | None = None) -> Callable[[World], float]:
    """How many of a kind there have been, of posts of one truth."""
    return lambda world: float(world.feed.count(kind, true=true))


society = Society(
    name="newsfeed",
    about="Users read true and false news on a platform that may be fact-checked, and spread it or flag it.",
    agent=User,
    population=population,
    world=world,
    parameters=Dials(),
    rules={"react": react, "comment": lambda facts, draw: "I have something to say about this.", "feel": feel},
    size=40,
    ticks=10,
    outcomes={
        "true_minus_false": lambda world: counted("engagement", True)(world) - counted("engagement", False)(world),
        "reach_of_false": counted("views", False),
        "engagement": counted("engagement"),
        "flags": counted("flags"),
        "tail_exponent": lambda world: tail_exponent(world.feed.engaged(), least=2),
        "intense": lambda world: float(np.mean(np.array(world.columns["emotion"]) == "intense")),
    },
)
