"""Citizens of a town: needs, plans, ways, money, ties, feelings, an attitude and memories in one agent.

After AgentSociety (arXiv:2502.08691). A citizen plans its day by the hour, goes about, works, eats, shops and talks;
who hears it feels something, moves its attitude, and remembers. The model or a rule says where the evening goes.
"""

import msgspec

from populace import Abstained, Agent, Context, OnMail, Parameters, Public, Society
from populace.mind import Attitude, DeltaTrust, Emotion, Memory, Needs, Plan
from populace.scenarios import _citizen_day as day
from populace.scenarios import _citizen_town as town
from populace.scenarios._citizen_rules import RULES
from populace.scenarios._citizen_town import TEXTS
from populace.scenarios._data import Count


class Dials(Parameters, frozen=True):
    """`tells`: to how many friends one talks at a time; `mean_degree` one has, by `homophily` (0: not) alike.

    `latitude`: how far off a stance may be and be accepted (0 to 2). `pension_cents` a day are from a levy on wages.
    """

    issue: str = "The government should provide many more services, even if it means more spending."
    mean_degree: float = 12.0
    homophily: float = 4.0
    tells: Count = 8
    latitude: float = 0.6
    meal_cents: Count = 1_000
    pension_cents: int = 6_000


class Citizen(Agent):
    """A respondent; `stance` is from -1 (against) to 1, `mood` from -1 (bad) to 1; `fed` and `company` are needs."""

    profile: str
    rises: int
    retired: Public[bool]
    stance: Public[float]
    mood: Public[float] = 0.0
    fed: Public[float] = 0.9
    company: Public[float] = 0.7
    since: int = 0
    food_units: float = 60.0
    plan: Plan = msgspec.field(default_factory=Plan)
    needs: Needs = msgspec.field(default_factory=day.needs)
    emotion: Emotion = msgspec.field(default_factory=lambda: Emotion(keep=0.9))
    attitude: Attitude = msgspec.field(default_factory=Attitude)
    ties: DeltaTrust = msgspec.field(default_factory=DeltaTrust)
    memory: Memory = msgspec.field(default_factory=day.memory)

    async def turn(self, ctx: Context) -> None:
        """Let hours pass, hear, rise and plan, do what begins now, set out for what comes next."""
        hour, here = ctx.seen["clock.hour"], ctx.seen["city.kind"]
        if ctx.tick == 0:
            self.attitude = Attitude(self.stance, ctx.parameters.latitude, max(1.5, ctx.parameters.latitude), rate=0.02)
        self.needs.pass_time(float(ctx.tick - self.since))
        self.emotion.pass_tick(ctx.tick - self.since)
        if ctx.inbox:
            self.hear(ctx)
        if hour == self.rises:
            await self.rise(ctx)
        step, coming = self.plan.at(hour), self.plan.at(hour + 1.0)
        if step is not None and step.start == hour and step.where == here:
            await self.do(ctx, step.what)
        if coming is not None and coming.where != here and ctx.seen["city.status"] == "there":
            ctx.act("city.go", kind=coming.where, choice="gravity")
            here = coming.where
        self.since, self.stance, self.mood = ctx.tick, self.attitude.position, self.emotion.valence
        self.fed, self.company = self.needs.needs["hunger"].level, self.needs.needs["social"].level
        ctx.wake_at(day.next_tick(ctx.tick, hour, self.rises, self.plan.steps, here))

    async def rise(self, ctx: Context) -> None:
        """Take in what was bought and earned yesterday, look for work where there is none, plan the day."""
        seen, employed = ctx.seen, ctx.seen["economy.employer"] >= 0
        self.needs.use("sleep", 8.0)
        self.needs.use("income", float(seen["economy.income_cents"] > 0))
        self.food_units += seen["economy.bought_units"]
        if self.retired == employed:
            ctx.act("economy.resign" if employed else "economy.apply", **({} if employed else {"firm": -1}))
            self.emotion.feel(0.0 if employed else -0.5, 0.4, 0.2)
        facts = {
            "profile": self.profile, "weekday": seen["clock.weekday"], "mood": self.emotion.describe(),
            "needs": {name: round(need.level, 2) for name, need in self.needs.needs.items()},
            "meals": int(self.food_units / day.MEAL_UNITS), "dollars": seen["economy.wallet_cents"] // 100,
            "memories": self.memory.recent(1),
        }  # fmt: skip
        answer = await ctx.ask(TEXTS["evening"], day.EVENING, facts=facts, system=TEXTS["system"], purpose="evening")
        evening = "home" if isinstance(answer, Abstained) else answer.label
        self.plan = day.plan(seen["clock.weekday"], self.rises, employed and not self.retired, evening)

    async def do(self, ctx: Context, what: str) -> None:
        """Work, shop, eat and talk, as the step says that begins."""
        wallet, out = ctx.seen["economy.wallet_cents"], what in ("lunch", "out")
        if what == "work":
            ctx.act("economy.work", hours=day.WORK_HOURS)
        elif what == "shop" and wallet > day.CUSHION_CENTS:
            ctx.act("economy.consume", cents=(wallet - day.CUSHION_CENTS) // 2)
        elif out and wallet >= ctx.parameters.meal_cents:
            ctx.act("economy.consume", cents=ctx.parameters.meal_cents)
            self.needs.use("meal")
        elif what in ("morning", "supper") and self.food_units >= day.MEAL_UNITS:
            self.food_units -= day.MEAL_UNITS
            self.needs.use("meal")
        if out or what == "supper":
            await self.talk(ctx)

    async def talk(self, ctx: Context) -> None:
        """Tell some friends where one stands, and why."""
        friends, issue = await ctx.look("network.neighbors"), ctx.parameters.issue
        facts = {
            "profile": self.profile, "mood": self.emotion.describe(), "issue": issue,
            "stance": self.attitude.describe(),
            "memories": [one.text for one in self.memory.retrieve(ctx.tick, issue, k=3)],
        }  # fmt: skip
        said = await ctx.ask(TEXTS["say"], str, facts=facts, system=TEXTS["system"], purpose="say", max_tokens=40)
        if friends and not isinstance(said, Abstained) and said.strip():
            told = ctx.draw("friends").sample(friends, min(ctx.parameters.tells, len(friends)))
            ctx.send(told, [said, round(self.attitude.position, 3)])
            self.needs.use("talk")

    def hear(self, ctx: Context) -> None:
        """Move by what friends say, as far as they are trusted; feel it, and remember what surprised most."""
        heard = []
        for message in ctx.inbox:
            text, stance = message.body
            apart = abs(stance - self.attitude.position)
            self.attitude.hear(stance, self.ties.of(message.sender))
            self.ties.learn(message.sender, 1.0 - apart / 2.0)
            self.emotion.feel(1.0 - apart, apart / 2.0, 0.1)
            heard.append((apart, text))
        surprise, text = max(heard)
        self.memory.note(ctx.tick, text, importance=1.0 + 4.0 * surprise)
        self.needs.use("hear", len(heard))


society = Society(
    name="citizen",
    about="Citizens of a town live a week by needs, plans and money, and talk an issue over with friends.",
    agent=Citizen,
    population=town.population,
    world=town.world,
    parameters=Dials(),
    rules=RULES,
    activation=OnMail(),
    ticks=168,
    tick_seconds=3600.0,
    outcomes=town.OUTCOMES,
)
