"""A small society, as the text of a file or of notebook cells: villagers come to believe a rumour."""

IMPORTS = """\
import populace
from populace import Agent, Choice, Chosen, Parameters, Population, Public, Society
"""
KNOBS = """
class Knobs(Parameters):
    pull: float = 0.5
"""
AGENTS = """
SIZE = 8


def villagers(setup):
    return Population({"heard": [n == 0 for n in range(setup.agents)]})


class Villager(Agent):
    heard: Public[bool] = False
    belief: Public[float] = 0.0

    async def turn(self, ctx):
        self.heard = self.heard or bool(ctx.inbox)
        if self.heard:
            answer = await ctx.ask(f"You believe it by {self.belief}. Do you?", Choice("yes", "no"), purpose="belief")
            if isinstance(answer, Chosen):
                self.belief += ctx.parameters.pull * (float(answer == "yes") - self.belief)
            ctx.send((ctx.id + 1) % SIZE, "rumour")
"""
OUTCOMES = """
def share(world):
    return float(world.columns["heard"].mean())


def belief(world):
    return float(world.columns["belief"].mean())
"""
SOCIETY = """
village = Society(
    name="village", agent=Villager, population=villagers, parameters=Knobs(),
    outcomes={"share": share, "belief": belief}, size=SIZE, ticks=6,
)
"""
FILE = IMPORTS + KNOBS + AGENTS + OUTCOMES + SOCIETY
