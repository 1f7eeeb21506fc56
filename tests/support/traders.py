"""A society with a columnar type: traders in columns exchange through a bank and by mail, beside tellers who ask."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace import Agent, Choice, ColumnarAgent, Every, Population, Public, Society, World
from populace.env import Batch, Opening, Part, action


class Trader(ColumnarAgent):
    """Gives a unit away to somebody, keeps a private mood, answers mail, naps now and then."""

    wealth: Public[int] = 3
    mood: float = 0.5
    lucky: Public[bool] = False

    def turns(self, ctx: Any) -> None:
        """See the class."""
        draw = ctx.draw("luck")
        self.lucky = draw.random() < 0.5
        self.wealth = ctx.seen["bank.wealth"] + ctx.inbox.counts() * 0
        self.mood += np.where(self.lucky, 0.25, -0.125) + ctx.draw("noise").uniform(0.0, 0.01) * ctx.inbox.counts()
        self.mood[ctx.seen["bank.rich"] == np.array("yes")] *= 0.5
        rich = self.wealth > 0
        partner = ctx.draw("partner").integer(ctx.population)
        ctx.act("bank.give", who=rich, to=partner, amount=1)
        ctx.act("bank.tip", who=self.lucky & rich, share=self.mood)
        ctx.send(partner, self.wealth, who=self.lucky)
        ctx.send(0, {"from": "a trader"}, who=np.flatnonzero(ctx.ids % 7 == 3).repeat(2))
        ctx.wake_at(ctx.tick + 2, who=~self.lucky)


class Teller(Agent):
    """Asks the model whether to give, and writes to a trader."""

    patience: Public[float] = 1.0

    async def turn(self, ctx: Any) -> None:
        """See the class."""
        heard = sum(message.body for message in ctx.inbox if isinstance(message.body, int))
        answer = await ctx.ask(f"You heard {heard}. Give?", Choice("yes", "no"), purpose="give")
        self.patience *= 0.5 if answer == "yes" else 1.5
        if answer == "yes":
            ctx.act("bank.give", to=ctx.draw("to").integer(30), amount=2)
        ctx.send(5 + ctx.draw("friend").integer(20), 7)


class Bank(Part):
    """Accounts of all; who comes to own much brings up another trader, and the tick's number says who leaves."""

    name = "bank"
    settable = {"most": int}

    def __init__(self) -> None:
        super().__init__()
        self.most = 3

    def open(self, opening: Opening) -> None:
        """Everybody begins alike."""
        self.wealth = np.full(opening.agents, 3, np.int64)
        self.tips = 0.0

    def observe(self, tick: int, agents: NDArray[np.int32]) -> dict[str, Any]:
        """Numbers and text."""
        own = self.wealth[agents]
        return {"wealth": own, "rich": ["yes" if one > 5 else "no" for one in own.tolist()]}

    @action
    def give(self, tick: int, batch: Batch) -> None:
        """Move as much as there is, one after another."""
        for i, (agent, to, amount) in enumerate(
            zip(batch.agents.tolist(), batch.column("to").tolist(), batch.column("amount").tolist(), strict=True)
        ):
            if not 0 <= to < len(self.wealth) or self.wealth[agent] < amount:
                batch.refuse(i, "too_poor")
            elif self.wealth[to] <= self.most:
                self.wealth[agent] -= amount
                self.wealth[to] += amount

    @action
    def tip(self, tick: int, batch: Batch) -> None:
        """In columns alone; the order shows in the sum."""
        share = batch.column("share")
        batch.refuse_all(share > 0.9, "too_much")
        for one in batch.args:
            self.tips = self.tips * 0.5 + one["share"]

    def advance(self, tick: int) -> list[tuple[int, Any]]:
        """Births and exits."""
        if tick % 2 == 1:
            self.world.spawn("trader", {"wealth": [2, 4], "mood": [0.0, 1.0]})
        if tick == 2:
            self.world.retire([6, 9])
        return [(7, tick)]

    def grow(self, ids: NDArray[np.int32]) -> None:
        """Newborns have an account."""
        self.wealth = np.concatenate((self.wealth, np.full(len(ids), 4, np.int64)))

    def state(self) -> dict[str, Any]:
        """All of it."""
        return {"wealth": self.wealth, "tips": self.tips}

    def restore(self, state: dict[str, Any]) -> None:
        """All of it."""
        self.wealth = state["wealth"].copy()
        self.tips = state["tips"]


def population(setup: Any) -> dict[str, Population]:
    """Traders who differ."""
    traders = setup.count("trader")
    return {
        "trader": Population({"wealth": [at % 4 for at in range(traders)], "mood": [at / 10 for at in range(traders)]})
    }


def total(world: World) -> float:
    """What traders think they own."""
    return float(world.columns["trader"]["wealth"].sum())


def lucky(world: World) -> float:
    """How many are lucky."""
    return float(world.columns["trader"]["lucky"].mean())


traders = Society(
    name="traders", types={"teller": Teller, "trader": Trader}, population=population,
    world=lambda setup, people: World(Bank()), outcomes={"total": total, "lucky": lucky},
    activation={"trader": Every(2, staggered=True)}, size={"teller": 3, "trader": 22}, ticks=7,
)  # fmt: skip
