"""The picture of docs/worlds/economy.md: `python docs/pictures/economy.py` (needs matplotlib).

100 households and 5 firms for 120 months, on each of 5 seeds: without a transfer, and with 1,000 a month for each
household from month 96 on, paid with new money, by a flat levy, or to the poorest fifth alone with new money.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

import populace
from populace import ColumnarAgent, Population, Setup, Society, World
from populace.env import Economy

FIRST = 60
SEEDS = range(5)
ARMS: dict[str, dict[str, Any]] = {
    "no transfer": {},
    "to all, new money": {"transfer_cents": 100_000},
    "to all, flat levy": {"transfer_cents": 100_000, "transfer_funding": "flat"},
    "to the poorest fifth, new money": {"transfer_cents": 100_000, "transfer_to": "poorest_fifth"},
}
PANELS = {
    "consumption": "units bought, a household",
    "price": "price index",
    "jobless": "without a job, share",
    "gini": "Gini of wealth",
}


class Household(ColumnarAgent):
    """As on the page."""

    def turns(self, ctx: Any) -> None:
        """Spend income, and a fifth of what the wallet holds beyond three months of it."""
        wallet, income = ctx.seen["economy.wallet_cents"], ctx.seen["economy.income_cents"]
        spend = (income + (wallet - 3 * income) // 5).clip(0)
        jobless = ctx.seen["economy.employer"] < 0
        ctx.act("economy.month", hours=168, consume_cents=spend, save_cents=0, search=jobless.astype(int))


def world(setup: Setup, people: object) -> World:
    """Households whose skills differ."""
    draw = setup.draw("skill")
    return World(Economy(firms=5, skill=[draw.lognormal(0.0, 0.4) for _ in range(setup.agents)]))


society = Society(
    name="village",
    agent=Household,
    population=lambda setup: Population.of_defaults(setup.agents),
    world=world,
    outcomes={
        "consumption": lambda world: world.economy.last("consumption_units") / 100,
        "price": lambda world: world.economy.last("price_index"),
        "jobless": lambda world: world.economy.last("jobless_share"),
        "gini": lambda world: world.economy.gini(),
    },
    size=100,
    ticks=120,
)


def main() -> None:
    """Run all arms, and draw."""
    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams.update({"svg.hashsalt": "populace", "svg.fonttype": "none", "font.size": 8})
    figure, axes = plt.subplots(2, 2, figsize=(7.2, 4.6), sharex=True, layout="constrained")
    for color, (arm, values) in zip(("0.55", "C0", "C1", "C2"), ARMS.items(), strict=True):
        levers = [{"at": 96, "set": {f"world.economy.{key}": value for key, value in values.items()}}] if values else []
        runs = [
            populace.run(society, model="scripted", seed=seed, levers=levers, quiet=True).outcomes for seed in SEEDS
        ]
        for axis, (name, label) in zip(axes.flat, PANELS.items(), strict=True):
            lines = np.array([run[name].to_numpy()[FIRST:] for run in runs])
            axis.plot(np.arange(FIRST, FIRST + lines.shape[1]), lines.mean(axis=0), color=color, lw=1.2, label=arm)
            axis.set_ylabel(label)
    for axis in axes.flat:
        axis.axvline(96, color="0.8", lw=0.8, zorder=0)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[1]:
        axis.set_xlabel("month")
    axes[0, 1].legend(frameon=False, loc="upper left")
    figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
