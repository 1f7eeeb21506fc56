"""Boltzmann wealth: agent-steps a second as coroutine agents, as columnar agents, and as Mesa 3 runs it, side by side.

Run it as `python benchmarks/wealth.py [--mesa PYTHON] [--agents N] [--many N] [--ticks N] [--rounds N]
[--profile KIND]`.

Each agent who owns something gives a unit to another. Here that is an action on a part of the world, applied at the
tick's end, traced, and with a hash of the world's state; since gifts only add up, the part says that it takes them in
any order. In Mesa a gift takes effect at once. `nothing`
is the share that owns nothing in the end. `--mesa` is a Python that has Mesa 3 (`python -m venv V && V/bin/pip install
mesa`, then `--mesa V/bin/python`). Mesa runs twice: `plain` is the model alone (no grid, no data collection, the agents
in a list, which is the fastest way to pick one), `example` is the one that Mesa ships, with its grid and its data
collected every step. What is measured of each is said in `side_by_side.py`.
"""

from __future__ import annotations

from rich.console import Console
from side_by_side import Sides, compare, options

from populace.data.societies import Origin

SOCIETY = """
import numpy as np
from populace import Agent, ColumnarAgent, Parameters, Population, Society, World
from populace.env import Part, RowDigests, action, in_any_order


class Dials(Parameters):
    people: int = 1


class Bank(Part):
    unsaved = ("_digests",)

    def open(self, opening):
        self.owned = np.ones(opening.agents, np.int64)
        self._digests = RowDigests("owned", "owned")
        self.put(np.arange(opening.agents))

    def put(self, rows):
        self._digests.put(rows, rows, self.owned[rows])

    def observe(self, tick, agents):
        return {"owned": self.owned[agents]}

    @action
    @in_any_order
    def give(self, tick, batch):
        change = np.bincount(batch.column("to"), minlength=len(self.owned))
        change[batch.agents] -= 1
        self.owned += change
        self.put(np.flatnonzero(change))

    def digest(self):
        return self._digests.digest()

    def state(self):
        return {"owned": self.owned}

    def restore(self, state):
        self.owned = state["owned"].copy()
        self.put(np.arange(len(self.owned)))


class Person(Agent):
    async def turn(self, ctx):
        if ctx.seen["bank.owned"] > 0:
            ctx.act("bank.give", to=ctx.draw("partner").integer(ctx.parameters.people))


class Trader(ColumnarAgent):
    def turns(self, ctx):
        partner = ctx.draw("partner").integer(ctx.parameters.people)
        ctx.act("bank.give", who=ctx.seen["bank.owned"] > 0, to=partner)


society = Society(
    name="wealth", agent=KIND, population=lambda setup: Population.of_defaults(setup.agents),
    world=lambda setup, people: World(Bank()), parameters=Dials(),
    outcomes={"nothing": lambda world: float((world.bank.owned == 0).mean())},
)
"""

MESA = """
import json, sys, time
import mesa

class MoneyAgent(mesa.Agent):
    def __init__(self, model):
        super().__init__(model)
        self.wealth = 1

    def step(self):
        if self.wealth > 0:
            other = self.random.choice(self.model.people)
            other.wealth += 1
            self.wealth -= 1

class MoneyModel(mesa.Model):
    def __init__(self, n, seed=None):
        super().__init__(seed=seed)
        MoneyAgent.create_agents(self, n)
        self.people = list(self.agents)

    def step(self):
        self.agents.shuffle_do("step")

kind, agents, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if kind == "plain":
    model = MoneyModel(agents, seed=1)
else:
    from mesa.examples.basic.boltzmann_wealth_model.model import BoltzmannWealth
    side = round(agents ** 0.5)
    model = BoltzmannWealth(agents, side, side, seed=1)
model.step()
began = time.process_time()
for _ in range(steps):
    model.step()
took = time.process_time() - began
nothing = sum(one.wealth == 0 for one in model.agents) / agents
print(agents * steps / took, mesa.__version__, json.dumps({"nothing": nothing}))
"""
CLASSES = {"coroutine": "Person", "columnar": "Trader"}
WEALTH = Sides(
    title="Boltzmann wealth",
    ours={kind: Origin(f"{kind}.py", SOCIETY.replace("KIND", of)) for kind, of in CLASSES.items()},
    parameters=lambda agents: {"people": agents},
    program=MESA,
    at_end=("nothing",),
    agents=10_000,
    many=1_000_000,
    ticks=20,
)


def main() -> None:
    compare(WEALTH, options(__doc__).parse_args(), Console())


if __name__ == "__main__":
    main()
