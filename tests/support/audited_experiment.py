"""A society whose model reads the words of its prompt, and an experiment on it."""

from populace import Agent, Choice, Context, Parameters, Population, Public, Setup, Society, World
from populace.env import Network
from populace.experiments import Arm, Audit, Experiment, Outcome


class Dials(Parameters, frozen=True):
    step: float = 1.0
    ballot: bool = False


class Citizen(Agent):
    side: int
    profile: str
    mood: Public[float] = 0.0

    async def turn(self, ctx: Context) -> None:
        if ctx.inbox:
            heard = "; ".join(str(message.body) for message in ctx.inbox)
            ask = "Ballot: yes or no." if ctx.parameters.ballot else "Answer frankly: do you agree, yes or no?"
            facts = {"profile": self.profile, "heard": heard}
            prompt = "{profile} You heard: {heard}. " + ask
            said = await ctx.ask(prompt, Choice("yes", "no"), facts=facts, purpose="agree")
            self.mood += ctx.parameters.step * (1.0 if said.label == "yes" else -1.0)
        friends = await ctx.look("network.neighbors")
        ctx.send(ctx.draw("friend").choice(friends), "good day")


def population(setup: Setup) -> Population:
    sides = [agent % 2 for agent in range(setup.agents)]
    return Population({"side": sides, "profile": [f"You lean {('left', 'right')[side]}." for side in sides]})


def world(setup: Setup, people: Population) -> World:
    return World(Network.watts_strogatz(setup, neighbours=2, rewire=0.0))


def answer(ask, draw):
    """Says yes to an appeal where the profile leans left; on a ballot what stands first."""
    text = ask.messages[-1][1]
    if "Vote!" in text and "Ballot" in text:
        return text.rpartition(":")[2].split()[0]
    if "Vote!" in text and "frankly" in text:
        return "yes" if "left" in text else "no"
    return "yes" if draw.random() < 0.5 else "no"


society = Society(
    name="citizens", agent=Citizen, population=population, world=world, parameters=Dials(), scripted=answer,
    outcomes={"mood": lambda w: w.columns["mood"].mean(), "people": lambda w: len(w.columns["mood"])},
    size=12, ticks=3,
)  # fmt: skip

APPEAL = {"at": 2, "send": {"to": {"where": {"side": 0}}, "body": "Vote!"}}

GREETING = {"at": 2, "send": {"to": {"where": {"side": 0}}, "body": "good day"}}
REPLICATES = 6

experiment = Experiment(
    society,
    arms={"control": Arm(), "appeal": Arm(levers=[APPEAL])},
    outcomes=[Outcome("mood", direction="up"), Outcome("people", bounds=(0, 100))],
    replicates=REPLICATES,
    model="scripted",
    audits=[
        Audit("half the step", parameters={"step": 0.5}),
        Audit("other words", reword={"Answer frankly: do you agree": "Do you approve"}),
    ],
)
