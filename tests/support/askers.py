"""A society that only asks: what the model stack does shows in its fields, its tables and at the server."""

from __future__ import annotations

from populace import Abstained, Agent, Context, Parameters, Population, Public, Setup, Society


class Asks(Parameters):
    """How many asks an agent makes in a tick, one after the other; so many more bytes are in each prompt, and
    `growth` more with each tick.

    Of every `one_in` agents only the first asks: with as many shards, they are all on one of them.
    """

    asks: int = 1
    padding: int = 0
    growth: int = 0
    one_in: int = 1


class Asker(Agent):
    """Counts what it got; an abstention that the budget or a fatal failure caused would show in `reasons`."""

    answered: Public[int] = 0
    abstained: Public[int] = 0
    reasons: Public[str] = ""

    async def turn(self, ctx: Context) -> None:
        if ctx.id % ctx.parameters.one_in:
            return
        for nth in range(ctx.parameters.asks):
            prompt = f"You are agent {ctx.id}. Tick {ctx.tick}, question {nth}: what do you say?"
            more = ctx.parameters.padding + ctx.parameters.growth * ctx.tick
            said = await ctx.ask(prompt.ljust(len(prompt) + more, "."), str, purpose="say")
            if isinstance(said, Abstained):
                self.abstained += 1
                self.reasons = f"{self.reasons} {said.reason}".strip()
            else:
                self.answered += 1


def population(setup: Setup) -> Population:
    return Population({"answered": [0] * setup.agents})


society = Society(name="askers", agent=Asker, population=population, parameters=Asks(), size=40, ticks=2)
