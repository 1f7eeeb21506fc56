"""A society with every part of the world at once, on each of which its agents act by keyed draws.

Residents act one by one, talk and play in rounds, ask and are asked about; traders act in columns. Some are born, some
leave. Levers with triggers, `LEVERS`, go by what parts and agents are.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from populace import Abstained, Agent, ColumnarAgent, Context, Public, Setup, Society, World
from populace.core.draws import Stream
from populace.core.records import Ask
from populace.env import (
    Bargain,
    Cases,
    CaseSet,
    City,
    Clock,
    Community,
    Criterion,
    Directory,
    Domain,
    Economy,
    Fact,
    Games,
    GridField,
    Kind,
    Master,
    Network,
    OrderBook,
    Part,
    Platform,
    PolicyRule,
    Refusal,
    Stage,
    Talk,
    Tools,
    words_rule,
)
from populace.env.games import play, prisoners_dilemma, rock_paper_scissors
from populace.env.talk import converse

FACTS = [
    Fact(key="fever", levels=("yes", "no"), cost=1.0),
    Fact(key="blood", levels=("high", "low"), how="order", after=("fever",), cost=30.0),
]
VALUES = {"fever": ["yes", "yes", "no", "no"], "blood": ["high", "low", "high", "low"]}
CASES = CaseSet(FACTS, VALUES, answers=["infection", "flu", "none"], truth=["infection", "flu", "none", "none"])
ISSUES = {"price": ["low", "high"], "delivery": ["now", "later"]}
POINTS = [{"price": {"low": 3, "high": 0}, "delivery": {"now": 1, "later": 0}},
          {"price": {"low": 0, "high": 3}, "delivery": {"now": 0, "later": 2}}]  # fmt: skip
PAIRS = [{"sides": [2 * at, 2 * at + 1], "points": POINTS} for at in range(4)]
STAGE = Stage({"hall": ["cellar"], "cellar": ["hall"]}, {"lamp": "cellar", "rope": "hall"}, agents={"coins": 3})
KINDS = {"home": Kind(2.0), "work": Kind(6.0, 12), "shop": Kind(8.0, 3, "08:00", "20:00")}
LEVERS = (
    'name="flagged", when={agents={"feed.flagged"={min=2}}}, lasts=2, again=2, set={world.feed.suspended="matching"}',
    (
        'name="jobless", when={world={economy.unemployment_rate={min=0.0}}}, at=2, lasts=1, again=1, '
        "set={world.economy.transfer_cents=7000}"
    ),
    'name="storm", when={agents={"city.exposure"={min=2}}}, again=2, send={to="matching", body="storm"}',
    'name="calm", when={outcomes={shares={min=5}}}, again=2, change={group={type="resident"}, fields={heard=0}}',
)

SETTINGS = (
    'at=3, set={world.talk.cap=2, world.talk.topic="rent", world.game.shown=0}',
    'at=3, set={world.feed.moderation="hybrid", world.feed.sees="mix", world.feed.hop_limit=1}',
    'at=3, until=5, set={world.city.closed=["shop"], world.network.cut=[[0, 1], [1, 2]]}',
    "at=3, set={world.economy.credit_limit_cents=5000, world.bargain.deadline_ticks=3}",
    'at=4, set={world.directory.ranking="perfect", world.directory.delay_factor=2.0}',
    "at=3, set={world.book.pressure=5, world.book.lifetime=1, world.book.short=3}",
    "at=3, set={world.cases.questions=1, world.cases.feedback=false}",
    "at=3, set={world.tools.enforce=true, world.tools.calls=3, world.master.narrate=false}",
)
"""What levers set of every part from tick 3 on."""


def lend(db: Any, *, book: str) -> None:
    """Lend a book out."""
    if db.row("books", book)["out"]:
        raise Refusal("lent")
    db.put("books", book, out=1)


def back(db: Any, *, book: str) -> None:
    """Take a book back."""
    db.put("books", book, out=0)


GENTLE = PolicyRule(name="gentle", text="Keep emma in.", tools=("lend",), kept=lambda call: call.args["book"] != "emma")
LIBRARY = Domain("library", {"books": {"book": ["emma", "ulysses"], "out": [0, 0]}}, [lend, back], [GENTLE])


class Resident(Agent):
    """Goes through the parts, one after another."""

    heard: Public[int] = 0
    over: Public[str] = ""
    won: Public[float] = 0.0
    known: list[str] = []

    async def turn(self, ctx: Context) -> None:
        """One tick of everything."""
        self.heard += len(ctx.inbox)
        self.known = [*self.known, *sorted(str(one.body) for one in ctx.inbox)][-3:]
        lot = ctx.draw("acts")
        browse(ctx, lot)
        move_about(ctx, lot)
        await trade(ctx, lot)
        await serve(ctx, lot)
        facts = {"place": ctx.seen["master.place"], "things": ctx.seen["master.things"]}
        text = await ctx.ask("You are in the {place} and see {things}. What do you try?", facts=facts, purpose="try")
        if not isinstance(text, Abstained):
            ctx.act("master.attempt", text=text)

        async def speak(now: dict[str, Any]) -> Any:
            said = await ctx.ask("So far: {lines}. And you?", facts={"lines": now["lines"]}, purpose="speak")
            return None if isinstance(said, Abstained) else {"say": said, "agree": lot.bernoulli(0.3)}

        async def choose(now: dict[str, Any]) -> str:
            return str(lot.choice(now["moves"]))

        self.over = str((await converse(ctx, speak))["over"])
        self.won = float((await play(ctx, choose, "play"))["score"])
        ctx.send((await ctx.look("network.followers"))[:2], "hello")


def browse(ctx: Context, lot: Stream) -> None:
    """Post, react to what is shown, follow and leave."""
    if lot.bernoulli(0.6):
        ctx.act("feed.post", text=f"news {lot.integer(100)}", true=lot.bernoulli(0.5), community="town")
    for post in ctx.seen["feed.shown"]:
        kind = lot.choice(["share", "like", "flag", "read", "mute"])
        whom = {"posts": [post["id"]]} if kind == "read" else {"post": post["id"]}
        ctx.act(f"feed.{kind}", **({"agent": post["author"]} if kind == "mute" else whom))
    ctx.act(f"network.{lot.choice(['follow', 'unfollow'])}", target=lot.integer(18))


def move_about(ctx: Context, lot: Stream) -> None:
    """Go somewhere; spend the month; order on the exchange."""
    ctx.act("city.go", kind=lot.choice(["home", "work", "shop"]), choice="gravity")
    ctx.act("economy.work", hours=100 + lot.integer(100))
    ctx.act("economy.apply", firm=-1)
    ctx.act("economy.consume", cents=lot.integer(200_000))
    ctx.act("economy.pay", to=lot.integer(18), cents=lot.integer(500))
    ctx.act("book.limit", side=lot.choice(["buy", "sell"]), price=95 + lot.integer(10), quantity=1 + lot.integer(3))
    if lot.bernoulli(0.2):
        ctx.act("book.cancel_all")


async def trade(ctx: Context, lot: Stream) -> None:
    """List, find, offer, buy and bargain."""
    if lot.bernoulli(0.4):
        ctx.act("directory.register", prices={"soup": 50 + lot.integer(50)}, name=f"place {ctx.id}",
                stock={"soup": 1 + lot.integer(2)}, quality=lot.random(), delay=float(lot.integer(2)))  # fmt: skip
    found = await ctx.look("directory.search", items=["soup"], value_cents=200)
    if found:
        ctx.act("directory.buy", listing=lot.choice(found)["listing"], items=["soup"])
    for own in (await ctx.look("directory.own"))[:1]:
        ctx.act("directory.propose", to=lot.integer(18), listing=own["listing"], items=["soup"], price_cents=40)
    for proposal in (await ctx.look("directory.proposals_to"))[:1]:
        ctx.act("directory.accept", proposal=proposal["proposal"])
    for deal in await ctx.look("bargain.deals_of"):
        if deal["offer"] and lot.bernoulli(0.3):
            ctx.act("bargain.accept", deal=deal["deal"], offer=deal["offer"]["offer"])
        else:
            terms = {issue: lot.choice(options) for issue, options in ISSUES.items()}
            ctx.act("bargain.offer", deal=deal["deal"], terms=terms)


async def serve(ctx: Context, lot: Stream) -> None:
    """Work on a case, and at the library's desk."""
    if ctx.seen["cases.nth"] >= 0:
        chart = await ctx.look("cases.chart")
        open_ = [(how, one) for how, asked in chart["open"].items() for one in asked]
        if open_ and lot.bernoulli(0.7):
            how, question = lot.choice(open_)
            ctx.act(f"cases.{how}", question=question)
        else:
            ctx.act("cases.answer", value=lot.choice(CASES.answers))
    ctx.act("tools.call", tool=lot.choice(["lend", "back"]), args={"book": lot.choice(["emma", "ulysses"])})


class Trader(ColumnarAgent):
    """Acts in columns on what takes columns."""

    worth: Public[float] = 0.0

    def turns(self, ctx: Any) -> None:
        """A tick of all of them."""
        self.worth = ctx.seen["book.cash"] + ctx.seen["economy.wallet_cents"] + ctx.seen["game.score"]
        side = 2 * ctx.draw("side").integer(2) - 1
        ctx.act("book.submit", side=side, price=95 + ctx.draw("price").integer(10), quantity=1)
        jobless = (ctx.seen["economy.employer"] < 0).astype(np.int64)
        spend = ctx.draw("spend").integer(100_000)
        ctx.act("economy.month", hours=150.0, consume_cents=spend, save_cents=10, search=jobless)
        ctx.act("city.go", who=ctx.draw("go").bernoulli(0.5), kind="shop", choice="nearest")
        ctx.act("game.move", who=ctx.seen["game.to_move"], move=ctx.draw("move").integer(2))
        ctx.act("network.follow", target=ctx.draw("friend").integer(18))
        ctx.act("feed.like", post=ctx.draw("post").integer(20))


class Registry(Part):
    """One of each type is born, and one leaves."""

    def advance(self, tick: int) -> None:
        """As the tick ends."""
        if tick == 1:
            self.world.spawn("resident", {"heard": 1}, n=1)
            self.world.spawn("trader", {}, n=1)
        if tick == 3:
            self.world.retire([int(self.world.ids("resident")[2]), int(self.world.ids("trader")[0])])


def world(setup: Setup, people: Any) -> World:
    """Every part there is."""
    wind = GridField([0, 86_400], [0, 2000], [0, 2000], np.arange(8.0).reshape(2, 2, 2))
    residents = list(setup.ids("resident"))
    return World(
        Clock("2024-01-01T07:00"),
        Network.watts_strogatz(setup, neighbours=4, rewire=0.3),
        Platform(60, 3, communities=[Community("town", moderators=[0])], sees="engagement", flags_to_label=1,
                 check_share=0.5, strikes_to_suspend=2, suspension_ticks=1, learning=0.5,
                 interests=np.ones((setup.agents, 2))),
        City.grid(setup, kinds=KINDS, people_per_km2=3.0, hazard=wind, beta=400.0, notify=True),
        Economy(firms=3),
        Directory(["soup"], cents=300, ranking="random"),
        OrderBook(cash=10_000, shares=20, start_price=100, lifetime=2, notify=True),
        Bargain(ISSUES, PAIRS, deadline_ticks=4),
        Games(prisoners_dilemma(), players="trader", sees="numbers"),
        Talk(3, cap=4, talkers="resident"),
        Games(rock_paper_scissors(), by="rounds", repetitions=2, players="resident", name="play"),
        Cases(CASES, solvers=residents[:6], series=None, questions=3, feedback=True,
              rubric=[Criterion(name="thorough", scale=("poor", "good"))]),
        Tools(LIBRARY, agents=residents),
        Master(STAGE, narrate=True),
        Registry(),
    )  # fmt: skip


def scripted(ask: Ask, draw: Stream) -> object:
    """Attempts by their words, marks and words by lot; now and then nothing."""
    if draw.bernoulli(0.05):
        return Abstained("refusal", "would rather not")
    if ask.purpose == "resolve":
        return words_rule()(msgspec.json.decode(ask.facts), draw)
    if ask.purpose == "try":
        return draw.choice(
            ["walk to the cellar", "walk to the hall", "take the lamp", "take the rope", "drop the lamp"]
        )
    if ask.purpose == "judge":
        return {"mark": draw.choice(["poor", "good"])}
    return f"{ask.purpose} {draw.integer(1000)}"


society = Society(
    name="all_parts",
    types={"resident": Resident, "trader": Trader},
    population=lambda setup: {},
    world=world,
    outcomes={
        "edges": lambda w: w.network.out.targets.sum(),
        "shares": lambda w: w.feed.count("shares"),
        "at_work": lambda w: w.city.share_at("work"),
        "output": lambda w: np.nan_to_num(w.economy.last("output_units")),
        "soup": lambda w: w.directory.ledger.cents.max(),
        "price": lambda w: w.book.book.last,
        "agreed": lambda w: np.nan_to_num(w.bargain.measures()["agreement_rate"]),
        "defects": lambda w: w.game.score.sum(),
        "won": lambda w: w.play.score.max(),
        "lines": lambda w: w.talk.spoken.sum(),
        "answered": lambda w: w.cases.records.written,
        "broken": lambda w: w.tools.broken.sum(),
        "done": lambda w: sum(w.master.done.values()),
    },
    scripted=scripted,
    size={"resident": 10, "trader": 6},
    ticks=6,
    tick_seconds=1800.0,
)
