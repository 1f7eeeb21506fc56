"""What conversations within a tick and asks by the world cost: rounds a second, and asks a second, in one process.

Run it as `python benchmarks/rounds.py [--groups N] [--rounds N] [--asks N] [--ticks N] [--repeats N]`.

`talk` is a conversation of four over many groups: each member contributes to every round of a tick and hears the other
three, without the model between. `talk, asking` asks the scripted model for each word. `consult` is a part that puts
many asks at once as a tick ends. `plain asks` are as many asks of as many agents, for comparison. A whole run with
tables off, by CPU time from the end of tick 0 to the run's end.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
from pathlib import Path

from clock import Clock
from figures import figure
from rich.console import Console
from rich.table import Table

from populace.cluster.collector import tuned_collector
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.data.societies import Origin
from populace.settings import Model, Record, Settings

HEAD = """
from populace import Agent, Choice, Parameters, Population, Society, World
from populace.env import Part


class Dials(Parameters):
    rounds: int = 5
    asks: int = 1000


class Quiet(Agent):
    async def turn(self, ctx):
        pass
"""
TALK = """
class Table(Part):
    def groups(self, tick):
        return {at // 4: range(at, at + 4) for at in range(0, self.world.agents, 4)}

    def round(self, now):
        return {agent: [text for one, text in now.said.items() if one != agent] for agent in now.said}

    def state(self):
        return {}

    def restore(self, state):
        pass


class Talker(Agent):
    async def turn(self, ctx):
        heard = []
        for nth in range(ctx.parameters.rounds):
            SAYS
            heard = await ctx.round("table", said)


society = Society(name="talk", agent=Talker, population=lambda setup: Population.of_defaults(setup.agents),
                  world=lambda setup, people: World(Table()), parameters=Dials())
"""
CONSULT = """
class Judge(Part):
    async def consult(self, ctx):
        asks = [ctx.ask("Is post {nth} of tick {tick} fit?", Choice("yes", "no"), facts={"nth": nth, "tick": ctx.tick})
                for nth in range(ctx.parameters.asks)]
        await ctx.ask_all(asks)

    def state(self):
        return {}

    def restore(self, state):
        pass


society = Society(name="consult", agent=Quiet, population=lambda setup: Population.of_defaults(setup.agents),
                  world=lambda setup, people: World(Judge()), parameters=Dials())
"""
PLAIN = """
class Asker(Agent):
    async def turn(self, ctx):
        await ctx.ask("Is post {nth} of tick {tick} fit?", Choice("yes", "no"), facts={"nth": ctx.id, "tick": ctx.tick})


society = Society(name="plain", agent=Asker, population=lambda setup: Population.of_defaults(setup.agents),
                  parameters=Dials())
"""
SAYS = {"talk": "said = 'word'", "talk, asking": "said = str(await ctx.ask(f'{heard}: a word?'))"}


def spent_s(source: str, agents: int, ticks: int, dials: dict[str, int]) -> float:
    """CPU seconds of `ticks` ticks, tick 0 left out."""
    out, clock = Path(tempfile.mkdtemp()), Clock(None)
    record = Record(agents="none", messages=False, asks=False, actions=False, rounds=False)
    settings = Settings(agents=agents, ticks=ticks + 1, record=record, model=Model(kind="scripted"), society=dials)
    run = Coordinator(Origin("society.py", HEAD + source), settings, LocalTransport(), out, [clock])
    try:
        with tuned_collector():
            asyncio.run(run.run())
    finally:
        shutil.rmtree(out)
    return clock.ended_s - clock.began_s


def main() -> None:
    """Measure all kinds, one after another in every round, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5, help="in a tick")
    parser.add_argument("--asks", type=int, default=1_000)
    parser.add_argument("--ticks", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    dials = {"rounds": options.rounds, "asks": options.asks}
    held = options.groups * options.rounds
    kinds = {name: (TALK.replace("SAYS", says), 4 * options.groups, held, "rounds") for name, says in SAYS.items()} | {
        "consult": (CONSULT, 1, options.asks, "asks"),
        "plain asks": (PLAIN, options.asks, options.asks, "asks"),
    }
    figures: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(options.repeats):
        for name, (source, agents, done, _) in kinds.items():
            figures[name].append(done * options.ticks / spent_s(source, agents, options.ticks, dials))
    table = Table("what", "agents", "a tick", "a second, best", "median", "us each")
    for name, (_, agents, done, what) in kinds.items():
        median = statistics.median(figures[name])
        figure(name, median, f"{what}/s", least=min(figures[name]), most=max(figures[name]))
        table.add_row(
            name,
            f"{agents:,}",
            f"{done:,} {what}",
            f"{max(figures[name]):,.0f}",
            f"{median:,.0f}",
            f"{1e6 / median:.0f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
