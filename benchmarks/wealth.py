"""Boltzmann wealth: agent-steps a second as coroutine agents, as columnar agents, and as Mesa 3 runs it, side by side.

Run it as `python benchmarks/wealth.py [--mesa PYTHON] [--agents N] [--many N] [--ticks N] [--rounds N]
[--profile KIND]`.

Each agent who owns something gives a unit to another. Here that is an action on a part of the world, applied at the
tick's end in the fair order, traced, and with a hash of the world's state; in Mesa it takes effect at once. A whole run
in one process with tables off, by CPU time from the end of tick 0. `--mesa` is a Python that has Mesa 3
(`python -m venv V && V/bin/pip install mesa`, then `--mesa V/bin/python`). Mesa runs twice: `plain` is the model alone
(no grid, no data collection, the agents in a list, which is the fastest way to pick one), `example` is the one that
Mesa ships, with its grid and its data collected every step.

Every round measures all kinds, one after another, so that the ratios of a round saw the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from clock import Clock
from figures import figure
from rich.console import Console
from rich.table import Table

from populace.cluster.coordinator import Coordinator
from populace.cluster.host import tuned_collector
from populace.cluster.local import LocalTransport
from populace.data.societies import Origin
from populace.settings import Model, Record, Settings

SOCIETY = """
import numpy as np
from populace import Agent, ColumnarAgent, Parameters, Population, Society, World
from populace.env import Part, RowDigests, action


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
    def give(self, tick, batch):
        change = np.bincount(batch.column("to"), minlength=len(self.owned))
        change[batch.agents] -= 1
        rows = np.flatnonzero(change)
        self.owned[rows] += change[rows]
        self.put(rows)

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
    outcomes={"richest": lambda world: float(world.bank.owned.max())},
)
"""

MESA = """
import sys, time
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
print(agents * steps / (time.process_time() - began), mesa.__version__)
"""
CLASSES = {"coroutine": "Person", "columnar": "Trader"}


def steps_a_second(kind: str, agents: int, ticks: int, profile: cProfile.Profile | None = None) -> float:
    """Agent-steps for each second of CPU time, tick 0 left out."""
    out = Path(tempfile.mkdtemp())
    clock = Clock(profile)
    record = Record(agents="none", messages=False, asks=False, actions=False)
    settings = Settings(
        agents=agents, ticks=ticks + 1, record=record, model=Model(kind="scripted"), society={"people": agents}
    )
    source = SOCIETY.replace("KIND", CLASSES[kind])
    run = Coordinator(Origin(f"{kind}.py", source), settings, LocalTransport(), out, [clock])
    try:
        with tuned_collector():
            asyncio.run(run.run())
    finally:
        if profile is not None:
            profile.disable()
        shutil.rmtree(out)
    assert clock.turns == agents * ticks
    return clock.turns / (clock.ended_s - clock.began_s)


def mesa_steps(python: str, kind: str, agents: int, ticks: int) -> tuple[float, str]:
    """Agent-steps for each second of CPU time in Mesa, and its version."""
    done = subprocess.run(
        [python, "-c", MESA, kind, str(agents), str(ticks)], capture_output=True, text=True, check=True
    )
    steps, version = done.stdout.split()
    return float(steps), version


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mesa", default=sys.executable, help="a Python that has Mesa 3")
    parser.add_argument("--agents", type=int, default=10_000, help="of coroutine agents and of Mesa's")
    parser.add_argument("--many", type=int, default=1_000_000, help="of columnar agents")
    parser.add_argument("--ticks", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", choices=CLASSES)
    options = parser.parse_args()
    sizes = {"coroutine": options.agents, "columnar": options.many}
    console = Console()
    if options.profile:
        profile = cProfile.Profile()
        steps_a_second(options.profile, sizes[options.profile], options.ticks, profile)
        pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(25)
        return
    rows: dict[tuple[str, int], list[float]] = {}
    version = ""
    for _ in range(options.rounds):
        for kind, agents in (*sizes.items(), ("columnar", options.agents)):
            rows.setdefault((kind, agents), []).append(steps_a_second(kind, agents, options.ticks))
        for kind in ("plain", "example"):
            try:
                steps, version = mesa_steps(options.mesa, kind, options.agents, options.ticks)
            except subprocess.CalledProcessError as error:
                console.print(f"Mesa is left out: {error.stderr.strip().splitlines()[-1:]}. See --help for --mesa.")
                break
            rows.setdefault((f"Mesa, {kind}", options.agents), []).append(steps)
    base = rows.get(("Mesa, plain", options.agents))
    aims = {("columnar", options.many): 10.0, ("coroutine", options.agents): 1 / 3}
    table = Table(
        "agents", "number", "agent-steps/s, best", "median", "ns a step", "of Mesa, plain: median", "range",
        title=f"Boltzmann wealth, {options.ticks} ticks, {options.rounds} rounds, CPU time; Mesa {version}",
    )  # fmt: skip
    for (kind, agents), figures in rows.items():
        ratios = [one / other for one, other in zip(figures, base, strict=True)] if base else []
        shown = (f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}") if ratios else ("", "")
        best, median = max(figures), statistics.median(figures)
        figure(f"wealth, {kind}, {agents:,}", median, "agent-steps/s", least=min(figures), most=best)
        if ratios and (kind, agents) in aims:
            figure(
                f"wealth, {kind}, {agents:,}, beside Mesa", statistics.median(ratios), "of Mesa, plain",
                aim=aims[kind, agents], least=min(ratios), most=max(ratios),
            )  # fmt: skip
        table.add_row(kind, f"{agents:,}", f"{best:,.0f}", f"{median:,.0f}", f"{1e9 / median:,.0f}", *shown)
    console.print(table)


if __name__ == "__main__":
    main()
