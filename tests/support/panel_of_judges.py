"""Writers' lines are judged by a part as each tick ends, and by an editor in its turn."""

from __future__ import annotations

from typing import Any

import msgspec

from populace import Abstained, Agent, Population, Public, Society, World
from populace.core.fences import unfence
from populace.env import Agreement, Criterion, Judgement, Part, action, judge, judge_all

STYLE = Criterion(name="style", quotes=("text",), settle="third_judge")


class Desk(Part):
    """Takes lines and has them judged."""

    def open(self, opening: Any) -> None:
        self.lines: list[str] = []
        self.agreement = Agreement([*STYLE.scale])

    @action
    def hand_in(self, tick: int, batch: Any) -> None:
        self.lines += [one["text"] for one in batch.args]

    async def consult(self, ctx: Any) -> None:
        lines, self.lines = self.lines, []
        for one in await judge_all(ctx, [(STYLE, {"text": line}) for line in lines]):
            self.agreement.add(one)

    def state(self) -> dict[str, Any]:
        return {"lines": self.lines, "agreement": msgspec.to_builtins(self.agreement)}

    def restore(self, state: dict[str, Any]) -> None:
        self.lines = list(state["lines"])
        self.agreement = msgspec.convert(state["agreement"], Agreement)


class Writer(Agent):
    """Writes a line a tick, and judges one of its own as an editor would, leaving what is open open."""

    seen: Agreement = msgspec.field(default_factory=lambda: Agreement([*STYLE.scale]))
    kappa: Public[float] = 0.0

    async def turn(self, ctx: Any) -> None:
        line = await ctx.ask("Write a line. You are number {id}.", facts={"id": ctx.id}, purpose="write")
        if isinstance(line, Abstained):
            return
        ctx.act("desk.hand_in", text=line)
        found: Judgement = await judge(ctx, Criterion(name="style", quotes=("text",)), {"text": line})
        self.seen.add(found)
        self.kappa = 0.0 if self.seen.kappa() != self.seen.kappa() else self.seen.kappa()


def mark(facts: dict[str, Any], draw: Any) -> dict[str, str]:
    """By the line's length, with an error of one mark now and then."""
    place = min(len(unfence(facts["text"])[0][1]) // 4, 2)
    slip = draw.choice([-1, 1]) if draw.bernoulli(0.3) else 0
    return {"mark": facts["scale"][min(max(place + slip, 0), 2)]}


society = Society(
    name="panel_of_judges",
    about="Lines, judged.",
    agent=Writer,
    population=lambda setup: Population({"kappa": [0.0] * setup.agents}),
    world=lambda setup, people: World(Desk()),
    rules={"judge": mark, "write": lambda facts, draw: "x" * draw.integer(12) + "!"},
    outcomes={
        "kappa_part": lambda world: world.desk.agreement.kappa(),
        "kappa_turn": lambda world: float(world.columns["kappa"].mean()),
        "settled_by_third": lambda world: world.desk.agreement.settled.get("third_judge", 0),
    },
    size=6,
    ticks=8,
)
