"""The pictures of docs/worlds/market.md: `python docs/pictures/market.py` (needs matplotlib).

The book of the society `exchange` with 40 traders, in which the outside buys 300 shares over five ticks; and the
proposals of the society `marketplace` with 20 customers and 30 businesses. Both on rules, seed 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

import populace
from populace.env import Directory, OrderBook, Part
from populace.env.market.directory_measures import worth_cents
from populace.env.market.proposals import TAKEN
from populace.scenarios.marketplace import wants

HERE = Path(__file__).parent
INJECTED = {"society.injected": 300, "society.inject_at": 15, "society.inject_ticks": 5}


def played(kind: type[Part], society: str, settings: dict[str, Any], ticks: int) -> Any:
    """The part of a run as it ends: of all that are opened, the one that went furthest."""
    opened: list[Any] = []
    usual = kind.open

    def noted(self: Any, opening: Any) -> None:
        opened.append(self)
        usual(self, opening)

    kind.open = noted  # type: ignore[method-assign]
    populace.run(society, model="rules", seed=1, settings=settings, ticks=ticks, quiet=True)
    kind.open = usual  # type: ignore[method-assign]
    return max(opened, key=lambda part: part.world.tick)


def draw_book(plt: Any) -> None:
    """Depth by price at the end, and trades by tick with best bid and ask."""
    book = played(OrderBook, "exchange", INJECTED, 30)
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.0), layout="constrained", width_ratios=(1, 1.6))
    shown = book.snapshot(1_000)
    for side, color in (("bids", "C0"), ("asks", "C3")):
        price, quantity = np.array(shown[side]).T
        left.fill_between(price, np.cumsum(quantity), step="post", color=color, alpha=0.35, lw=0, label=side)
    left.set(xlabel="price, ticks", ylabel="shares up to this price")
    left.legend(frameon=False, loc="center left")
    trades, ticks = book.book.trades(), book.bars.column("tick")
    for taker, color in ((1, "C3"), (-1, "C0")):
        of = trades["taker"] == taker
        shares = np.bincount(trades["tick"][of], trades["quantity"][of], len(ticks))
        paid = np.bincount(trades["tick"][of], trades["quantity"][of] * trades["price"][of], len(ticks))
        there, label = shares > 0, f"taken by {'buyers' if taker == 1 else 'sellers'}"
        right.scatter(
            ticks[there], paid[there] / shares[there], s=shares[there] / 4, color=color, alpha=0.5, lw=0, label=label
        )
    for name in ("bid", "ask"):
        best = book.bars.column(name).astype(float)
        best[best == 0] = np.nan
        right.step(ticks, best, where="mid", color="0.3", lw=0.8)
    right.axvspan(14.5, 19.5, color="0.92", zorder=0)
    right.annotate("order from\noutside", (14.7, right.get_ylim()[1]), va="top", fontsize=7)
    right.legend(frameon=False, loc="upper left", markerscale=0.6)
    right.set(xlabel="tick", ylabel="price, ticks")
    finish(figure, (left, right), "market-book")


def draw_offers(plt: Any) -> None:
    """What each proposal leaves its customer, by the time at which it arrives; those that were taken stand out."""
    size = {"agents.customer": 20, "agents.business": 30}
    world = played(Directory, "marketplace", size, 9).world
    proposals = world.directory.proposals
    to = np.searchsorted(world.ids("customer"), proposals.column("buyer"))
    value = world.columns["customer"]["value_cents"][to]
    leaves = (
        worth_cents(world.directory, wants(world))[to, proposals.column("listing")] - proposals.column("price_cents")
    ) / value
    taken, time = proposals.column("status") == TAKEN, proposals.column("time") - 1.0
    figure, axis = plt.subplots(figsize=(7.2, 3.0), layout="constrained")
    axis.scatter(time[~taken], leaves[~taken], s=8, color="0.7", lw=0, label="proposed")
    axis.scatter(time[taken], leaves[taken], s=22, color="C1", lw=0, label="taken")
    axis.axhline(0.3, color="0.5", lw=0.8, ls="--")
    axis.annotate("aspiration", (axis.get_xlim()[1], 0.31), ha="right", fontsize=7, color="0.4")
    axis.set(xlabel="arrives after, ticks", ylabel="leaves, as a share of value")
    axis.legend(frameon=False, loc="lower right")
    finish(figure, (axis,), "market-offers")


def finish(figure: Any, axes: Any, name: str) -> None:
    """Save a figure."""
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / f"{name}.svg", metadata={"Date": None})


def main() -> None:
    """Draw both."""
    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams.update({"svg.hashsalt": "populace", "svg.fonttype": "none", "font.size": 8})
    draw_book(plt)
    draw_offers(plt)


if __name__ == "__main__":
    main()
