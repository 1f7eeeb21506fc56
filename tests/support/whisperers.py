"""A society in a ring: each passes the next one a payload, and says what it thinks of what it heard."""

from __future__ import annotations

from typing import Annotated

import msgspec

from populace import Abstained, Agent, Context, Parameters, Population, Public, Setup, Society, World, fence
from populace.core.fences import FENCE_RULE
from populace.env import Feed
from support.payloads import PAYLOADS

SYSTEM = f"You take part in a study of rumours. {FENCE_RULE}"
HEARD = "You heard this:\n"
QUESTION = "\nWhat do you think of it, and what do you post?"


class View(msgspec.Struct):
    """What an agent may say."""

    stance: Annotated[int, msgspec.Meta(ge=0, le=10)]
    post: Annotated[str, msgspec.Meta(max_length=80)]


class Ring(Parameters):
    """Whether messages are fenced."""

    fenced: bool = True


class Whisperer(Agent):
    """Hears, thinks, posts, and passes its own payload on."""

    stance: Public[int] = 5

    async def turn(self, ctx: Context) -> None:
        if ctx.inbox:
            source = fence if ctx.parameters.fenced else (lambda text, _source: text)
            heard = "\n".join(source(message.body, f"agent {message.sender}") for message in ctx.inbox)
            view = await ctx.ask(f"{HEARD}{heard}{QUESTION}", View, system=SYSTEM, purpose="view")
            if not isinstance(view, Abstained):
                self.stance = view.stance
                ctx.act("feed.post", text=view.post)
        ctx.send((ctx.id + 1) % len(PAYLOADS), PAYLOADS[ctx.id])


def population(setup: Setup) -> Population:
    return Population({"stance": [5] * setup.agents})


def world(setup: Setup, people: Population) -> World:
    return World(Feed(keep=1000))


society = Society(
    name="whisperers",
    agent=Whisperer,
    population=population,
    world=world,
    parameters=Ring(),
    outcomes={"mean": lambda w: w.columns["stance"].mean()},
    size=len(PAYLOADS),
    ticks=2,
)
