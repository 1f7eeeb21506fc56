"""A small society that talks, and an experiment on it."""

from populace import Agent, Choice, Context, Parameters, Population, Public, Setup, Society, World
from populace.env import Clock, Network
from populace.experiments import Arm, Experiment, Outcome


class Dials(Parameters, frozen=True):
    openness: float = 0.5
    start: float = 5.0


class Neighbour(Agent):
    group: int
    attitude: Public[float]
    heard: Public[int] = 0

    async def turn(self, ctx: Context) -> None:
        self.heard += len(ctx.inbox)
        told = [float(message.body) for message in ctx.inbox]
        if told:
            facts = {"attitude": round(self.attitude, 3), "heard": [round(one, 3) for one in told]}
            prompt = "You stand at {attitude} and heard {heard}. Are you moved?"
            moved = await ctx.ask(prompt, Choice("yes", "no"), purpose="moved", facts=facts)
            if moved == "yes":
                self.attitude += ctx.parameters.openness * (sum(told) / len(told) - self.attitude)
        friends = await ctx.look("network.neighbors")
        ctx.send(ctx.draw("friend").choice(friends), self.attitude)


def population(setup: Setup) -> Population:
    start = [setup.parameters.start + setup.draw(f"start{i}").normal() for i in range(setup.agents)]
    return Population({"group": [i % 2 for i in range(setup.agents)], "attitude": start})


def world(setup: Setup, people: Population) -> World:
    return World(Clock(), Network.watts_strogatz(setup, neighbours=4, rewire=0.1))


def moved(facts, draw):
    gap = abs(sum(facts["heard"]) / len(facts["heard"]) - facts["attitude"])
    return "yes" if draw.random() < min(1.0, 0.3 + gap / 5.0) else "no"


society = Society(
    name="neighbours",
    agent=Neighbour,
    population=population,
    world=world,
    parameters=Dials(),
    rules={"moved": moved},
    outcomes={
        "mean": lambda w: w.columns["attitude"].mean(),
        "spread": lambda w: w.columns["attitude"].std(),
        "heard": lambda w: w.columns["heard"].mean(),
        "people": lambda w: len(w.columns["heard"]),
    },
    size=16,
    ticks=6,
)

experiment = Experiment(
    society,
    question="Does silencing a third keep opinions apart?",
    arms={
        "control": Arm(),
        "silenced": Arm(levers=[{"at": 3, "block": {"sender": {"share": 0.3}}}]),
        "moved": Arm(levers=[{"at": 4, "change": {"group": "all", "fields": {"attitude": 9.0}}}]),
        "open": Arm(parameters={"openness": 0.9}),
    },
    outcomes=[Outcome("spread", direction={"silenced": "up"}), "mean", "heard"],
    replicates=3,
    model="rules",
)
