"""A small society whose agents do much in its world and are asked nothing: parts that ship, and one of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from populace import Agent, Context, Population, Public, Setup, Society, World
from populace.env import Batch, Clock, Feed, Network, Opening, Part, action

EXTRA_LIKE_IN_TICK = None
RATE = 0.1


class Member(Agent):
    """Writes, likes, follows and pays by lot."""

    coins: Public[int] = 0
    share: Public[float] = 0.0
    said: Public[str] = ""

    async def turn(self, ctx: Context) -> None:
        lot = ctx.draw("lot")
        self.coins += lot.integer(3)
        self.share = self.coins / (ctx.tick + 1)
        self.said = f"{self.coins} coins"
        if lot.random() < 0.5:
            ctx.act("board.post", text=self.said)
        ctx.act("board.like", post=lot.integer(8 * ctx.tick + 1))
        ctx.act("board.repost", post=lot.integer(8 * ctx.tick + 1))
        ctx.act("network.follow", target=lot.integer(8))
        ctx.act("network.unfollow", target=lot.integer(8))
        ctx.act("fund.pay", amount=self.coins)
        ctx.send(lot.integer(8), self.said)


class Board(Feed):
    """A feed that can be made to count a like that nobody gave."""

    @action
    def like(self, tick: int, batch: Batch) -> None:
        super().like(tick, batch)
        if tick == EXTRA_LIKE_IN_TICK:
            everyone = np.arange(self.world.agents)
            liked = self.posts.liked(np.full(len(everyone), self.posts.oldest), everyone)
            assert self.posts.like(self.posts.oldest, int(liked.argmin()))


class Fund(Part):
    """A part of one's own."""

    def open(self, opening: Opening) -> None:
        self.paid = np.zeros(opening.agents)

    @action
    def pay(self, tick: int, batch: Batch) -> None:
        for agent, args in zip(batch.agents.tolist(), batch.args, strict=True):
            self.paid[agent] += RATE * args["amount"]

    def state(self) -> dict[str, Any]:
        return {"paid": self.paid}

    def restore(self, state: dict[str, Any]) -> None:
        self.paid = state["paid"].copy()


def world(setup: Setup, people: Population) -> World:
    network = Network.watts_strogatz(setup, neighbours=2, rewire=0.2)
    return World(Clock(), network, Board(keep=20, show=2, name="board"), Fund())


society = Society(
    name="worldly",
    agent=Member,
    population=lambda setup: Population({"coins": [0] * setup.agents}),
    world=world,
    outcomes={"paid": lambda w: w.fund.paid.sum()},
    size=8,
    ticks=8,
)
