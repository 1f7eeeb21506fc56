"""Traders of four kinds meet in a limit order book; what does a large order from outside do? After MarS.

In each tick a trader takes its old orders back, sees the book, and gives new orders. MarS is arXiv:2409.07486. Arms, by
`--set society.`: `injected` over `inject_ticks`; the parts `noise`, `fundamental`, `trend` and `maker` of the traders.

The check is of theory: impact grows concavely with size. The rule mind is of four simple traders (Chiarella and Iori
2002), none of whom is told of the order; in a book that is deep beside the order there is no impact.
"""

from populace import Abstained, Agent, Context, Parameters, Population, Public, Setup, Society, World
from populace.env import Flow, OrderBook
from populace.env.market import book_measures
from populace.scenarios import _exchange_rules as rules
from populace.scenarios._data import Count, Share, prompts

TEXTS = prompts("exchange")
KINDS = ("noise", "fundamental", "trend", "maker")


class Dials(Parameters, frozen=True):
    """`injected` shares are bought (below zero: sold) by market orders in `inject_ticks` slices from `inject_at` on.

    `noise`, `fundamental`, `trend` and `maker` are the kinds' parts of the traders. A share is worth `value` ticks of
    price to fundamental traders, give or take `disagreement` (a standard deviation, as a share); they begin with
    `shares` shares, and cash for as many more. `size` is the usual order, `maker_size` a maker's smallest, in shares;
    `horizon` is how many prices a trend follower looks at, on average; `patience` is how many ticks an order rests
    before its trader takes it back.
    """

    injected: int = 0
    inject_at: int = 15
    inject_ticks: int = 5
    noise: Share = 0.5
    fundamental: Share = 0.25
    trend: Share = 0.15
    maker: Share = 0.1
    value: int = 10_000
    disagreement: float = 0.03
    shares: Count = 1_000
    size: Count = 5
    maker_size: Count = 8
    horizon: Count = 5
    patience: Count = 5


class Trader(Agent):
    """`value` is what a share is worth to it, in ticks of price; 0 where it has no opinion."""

    kind: Public[str]
    value: Public[int] = 0
    horizon: int = 5

    async def turn(self, ctx: Context) -> None:
        """Take old orders back, look, and give new ones."""
        dials, seen = ctx.parameters, ctx.seen
        if seen["book.resting"]:
            for one in await ctx.look("book.orders"):
                if self.kind == "maker" or ctx.tick - one["tick"] >= dials.patience:
                    ctx.act("book.cancel", order=one["id"])
        facts = {
            "kind": self.kind,
            "began": dials.shares,
            "role": TEXTS["roles"][self.kind].format(horizon=self.horizon),
            **{name: seen[f"book.{name}"] for name in ("cash", "shares", "bid", "ask", "last")},
            "closes": await ctx.look("book.closes", n=self.horizon),
            "value": self.value,
            "size": dials.maker_size if self.kind == "maker" else dials.size,
        }
        answer = await ctx.ask(TEXTS["trade"], rules.Orders, facts=facts, system=TEXTS["system"], purpose="trade")
        for order in () if isinstance(answer, Abstained) else answer.orders[:10]:
            ctx.act("book.submit", side=order.side, price=order.price, quantity=order.quantity)


def population(setup: Setup) -> Population:
    """Kinds in their parts, by lot; what a share is worth differs between fundamental traders."""
    dials, draw = setup.parameters, setup.draw("traders")
    parts = [getattr(dials, kind) for kind in KINDS]
    edges = [round(setup.agents * sum(parts[: at + 1]) / sum(parts)) for at in range(len(KINDS))]
    kinds = [KINDS[sum(edge <= at for edge in edges)] for at in range(setup.agents)]
    draw.shuffle(kinds)
    worth = [round(dials.value * draw.lognormal(0.0, dials.disagreement)) for _ in kinds]
    values = [max(1, value) if kind == "fundamental" else 0 for kind, value in zip(kinds, worth, strict=True)]
    horizons = [2 + draw.integer(max(1, 2 * dials.horizon - 3)) for _ in kinds]
    return Population({"kind": kinds, "value": values, "horizon": horizons})


def world(setup: Setup, people: Population) -> World:
    """A book that opens at what a share is worth, and the order from outside."""
    dials = setup.parameters
    flow = None
    if dials.injected:
        side = 1 if dials.injected > 0 else -1
        flow = Flow.parent(side, abs(dials.injected), start=dials.inject_at, ticks=dials.inject_ticks)
    cash = dials.shares * dials.value
    return World(OrderBook(cash=cash, shares=dials.shares, start_price=dials.value, flow=flow))


society = Society(
    name="exchange",
    about="Traders of four kinds in a limit order book; a large order from outside moves the price.",
    agent=Trader,
    population=population,
    world=world,
    parameters=Dials(),
    rules=rules.RULES,
    outcomes=book_measures.outcomes(),
    size=40,
    ticks=30,
)
