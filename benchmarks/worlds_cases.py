"""Parts of the world at scale, and what agents do on them: the cases that `worlds.py` measures.

A `Case` makes a world of so many agents, opened, and a tick's actions of those who are active. Actions stand in columns
where the part takes columns, as a columnar type gives them, else one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from feed_ranking import TEXT, platform_world
from numpy.typing import NDArray

from populace.core.draws import Draws
from populace.env import (
    Action,
    Cases,
    CaseSet,
    City,
    Directory,
    Domain,
    Economy,
    Fact,
    Games,
    Network,
    Opening,
    OrderBook,
    Part,
    Talk,
    Tools,
    World,
)
from populace.env.acts import Acting, Acts
from populace.env.games import prisoners_dilemma

Ids = NDArray[np.int32]
Rng = np.random.Generator

TICK_S = 600.0
TEN = 60
"""The tick at ten o'clock, when shops are open."""
TIES, LISTINGS = 10, 1_000


class Case(msgspec.Struct, frozen=True):
    """A part at scale: of `many` agents those who are active do what `does` says."""

    part: str
    does: str
    many: int
    make: Callable[[int], World]
    acts: Callable[[World, Ids, Rng], Acting]
    least: float = 0.5
    """The share of actions that are applied, below which a tick shows nothing."""


class Setup:
    """What a city is generated for."""

    def __init__(self, agents: int) -> None:
        self.agents = agents
        self.draw = Draws(7)


def opened(agents: int, *parts: Part, tick: int = 0) -> World:
    """A world of these parts."""
    world = World(*parts)
    world.open(Opening(agents=agents, seed=7, tick_seconds=TICK_S, parameters=None, columns={}, draw=Draws(7)))
    if tick:
        world.restore(world.state() | {"tick": tick})
    return world


def columns(kind: str, who: Ids, same: dict[str, Any] | None = None, **given: NDArray[Any]) -> Acts:
    """An action of each, in columns."""
    return Acts(kind, who, np.zeros(len(who), np.int32), given, same or {})


def singles(kind: str, who: Ids, args: Sequence[dict[str, Any]], nth: int = 0) -> list[Action]:
    """An action of each, one by one."""
    return [Action(agent, nth, kind, one) for agent, one in zip(who.tolist(), args, strict=True)]


def network(agents: int) -> World:
    """Ten ties an agent, by lot."""
    draw = np.random.default_rng(1)
    keys = np.unique(np.repeat(np.arange(agents), TIES) * agents + draw.integers(0, agents, agents * TIES))
    source, target = np.divmod(keys, agents)
    tied = source != target
    return opened(agents, Network(source[tied], target[tied], size=agents))


def follow(world: World, who: Ids, draw: Rng) -> Acting:
    """Follow somebody."""
    return Acting([], [columns("network.follow", who, target=draw.integers(0, world.agents, len(who)))])


def feed(agents: int) -> World:
    """A moderated platform with as many posts as agents."""
    return platform_world(agents, agents)


def post(world: World, who: Ids, draw: Rng) -> Acting:
    """Read three posts, like one; a third share, a tenth post."""
    oldest, newest = int(world.feed.posts.oldest), int(world.feed.posts.written)
    posts = draw.integers(oldest, newest, (len(who), 3))
    some, few = who[: len(who) // 3], who[: len(who) // 10]
    read = singles("feed.read", who, [{"posts": one} for one in posts.tolist()])
    written = singles("feed.post", few, [{"text": TEXT, "true": True}] * len(few), 3)
    return Acting(
        [*read, *written],
        [columns("feed.like", who, post=posts[:, 0]), columns("feed.share", some, post=posts[: len(some), 1])],
    )


def city(agents: int) -> World:
    """A town, generated, at ten o'clock; everybody is at home."""
    return opened(agents, City.grid(Setup(agents)), tick=TEN)


def go(world: World, who: Ids, draw: Rng) -> Acting:
    """Drive to a place of any kind; on the way when the tick ends, or there."""
    return Acting(
        [], [columns("city.go", who, {"mode": "car"}, place=draw.integers(0, len(world.city.places), len(who)))]
    )


def economy(agents: int) -> World:
    """Households, and a firm for each thousand."""
    return opened(agents, Economy(firms=max(5, agents // 1_000)))


def month(_: World, who: Ids, draw: Rng) -> Acting:
    """Work, spend, look for a job."""
    cents = draw.integers(0, 200_000, len(who))
    return Acting(
        [], [columns("economy.month", who, {"hours": 168.0, "save_cents": 0, "search": 1}, consume_cents=cents)]
    )


def book(agents: int) -> World:
    """A book in which each agent has an order, about ten ticks of price from the middle."""
    world = opened(agents, OrderBook(cash=10**8, shares=10**4, start_price=5_000, lifetime=0))
    draw = np.random.default_rng(2)
    side = 2 * draw.integers(0, 2, agents) - 1
    away = draw.integers(1, 1_000, agents)
    who = draw.permutation(agents).astype(np.int32)
    world.resolve(
        Acting(
            [],
            [columns("book.submit", who, side=side, price=5_000 - side * away, quantity=draw.integers(1, 9, agents))],
        )
    )
    return world


def order(_: World, who: Ids, draw: Rng) -> Acting:
    """Order; three in ten at whatever price."""
    side = 2 * draw.integers(0, 2, len(who)) - 1
    price = np.where(draw.random(len(who)) < 0.3, 0, 5_000 - side * draw.integers(-2, 1_000, len(who)))
    return Acting([], [columns("book.submit", who, side=side, price=price, quantity=draw.integers(1, 9, len(who)))])


def directory(agents: int) -> World:
    """A thousand sellers with a listing each."""
    items = [f"item {at}" for at in range(20)]
    draw = np.random.default_rng(3)
    listed = {}
    for at in range(min(agents, LISTINGS)):
        menu = draw.choice(items, 5, replace=False).tolist()
        listed[at] = [{"name": f"place {at}", "text": TEXT, "prices": dict.fromkeys(menu, 100)}]
    return opened(agents, Directory(items, listings=listed, cents=10**6, keep=1_000_000))


def buy(world: World, who: Ids, draw: Rng) -> Acting:
    """Buy an item of somebody's menu."""
    which = draw.integers(0, min(world.agents, LISTINGS), len(who))
    first = (world.directory.listings.prices >= 0).argmax(axis=1)[which]
    names = world.directory.items
    args = [{"listing": at, "items": [names[item]]} for at, item in zip(which.tolist(), first.tolist(), strict=True)]
    return Acting(singles("directory.buy", who, args), [])


def games(agents: int) -> World:
    """Pairs of strangers, a play a tick."""
    return opened(agents, Games(prisoners_dilemma(), sees="numbers", keep=agents))


def move(_: World, who: Ids, draw: Rng) -> Acting:
    """Move; whoever does not counts by default."""
    return Acting([], [columns("game.move", who, move=draw.integers(0, 2, len(who)))])


def talk(agents: int) -> World:
    """Pairs that talk by acts, without an end in sight."""
    return opened(agents, Talk(2, by="acts", protocol="all", cap=10_000, patience=10_000, agreement="none", memory=10))


def say(_: World, who: Ids, draw: Rng) -> Acting:
    """Say something."""
    return Acting(singles("talk.say", who, [{"say": TEXT}] * len(who)), [])


FACTS = [Fact(key=f"fact {at}", levels=("yes", "no"), cost=1.0) for at in range(20)]


def cases(agents: int) -> World:
    """A solver an agent, twenty facts a case."""
    values = {one.key: ["yes", "no"] * 50 for one in FACTS}
    made = CaseSet(FACTS, values, answers=["a", "b"], truth=["a", "b"] * 50)
    return opened(agents, Cases(made, series=None, questions=20))


def question(world: World, who: Ids, draw: Rng) -> Acting:
    """Ask for a fact; who has asked it before answers."""
    which = draw.integers(0, len(FACTS), len(who))
    known = world.cases.work.told[who, which] >= 0
    ask = singles("cases.ask", who[~known], [{"question": FACTS[at].key} for at in which[~known].tolist()])
    return Acting([*ask, *singles("cases.answer", who[known], [{"value": "a"}] * int(known.sum()))], [])


def put(db: Any, *, key: str, value: int) -> None:
    """Write a number."""
    db.put("rows", key, value=value)


def tools(agents: int) -> World:
    """A database of a thousand rows that all share."""
    table = {"key": [f"row {at}" for at in range(1_000)], "value": [0] * 1_000}
    return opened(agents, Tools(Domain("store", {"rows": table}, [put]), calls=1_000_000))


def call(_: World, who: Ids, draw: Rng) -> Acting:
    """Write to a row."""
    rows = draw.integers(0, 1_000, (len(who), 2)).tolist()
    return Acting(
        singles(
            "tools.call", who, [{"tool": "put", "args": {"key": f"row {at}", "value": value}} for at, value in rows]
        ),
        [],
    )


ALL = (
    Case("network", "follow one", 1_000_000, network, follow),
    Case("feed", "read three, like one; a third share, a tenth post", 1_000_000, feed, post),
    Case("city", "drive to a place", 1_000_000, city, go, 0.1),
    Case("economy", "work, spend, look for a job", 1_000_000, economy, month),
    Case("book", "order", 100_000, book, order),
    Case("directory", "buy", 100_000, directory, buy),
    Case("game", "move", 100_000, games, move),
    Case("talk", "say, by acts", 10_000, talk, say),
    Case("cases", "ask, or answer", 10_000, cases, question),
    Case("tools", "call", 10_000, tools, call),
)
