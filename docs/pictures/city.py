"""The picture of docs/worlds/city.md: a generated town on a Monday at 17:00, as a storm comes in from the south-east.

`python docs/pictures/city.py` writes city.svg beside this file.
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np

from populace.core.draws import Draws
from populace.env import City, Clock, Opening, Storm, World
from populace.env.acts import Acting, Acts

mpl.use("svg")
import matplotlib.pyplot as plt

PEOPLE, SIDE = 400, 7
COLOURS = {"work": "#4c72b0", "school": "#937860", "shop": "#dd8452", "leisure": "#8172b3", "shelter": "#55a868"}


class Setup:
    """What the town is generated for."""

    agents = PEOPLE
    draw = property(lambda self: Draws(11))


def town() -> World:
    """The town after a working day: everybody went to work in the morning, and half of them on to a shop or out."""
    hour = 3600.0
    storm = Storm([0, 24 * hour], [4000, 300], [-3500, 900], [45, 40], [2500, 2500])
    city = City.grid(Setup(), people_per_km2=450.0, hazard=storm, choice="gravity", beta=400.0)
    world = World(Clock("2024-01-01T00:00"), city)
    world.open(Opening(agents=PEOPLE, seed=11, tick_seconds=600.0, parameters=None, columns={}, draw=Draws(11)))
    ids = np.arange(PEOPLE, dtype=np.int32)

    def go(kind: str, who: np.ndarray, mode: str) -> None:
        acts = Acts("city.go", who, np.zeros(len(who), np.int32), {}, {"kind": kind, "mode": mode})
        world.resolve(Acting([], [acts]))

    while world.tick < 48:
        world.resolve([])
    go("work", ids[ids % 5 > 0], "car")
    while world.tick < 98:
        world.resolve([])
    go("leisure", ids[ids % 5 == 1], "walk")
    go("shop", ids[ids % 5 == 2], "walk")
    go("home", ids[ids % 5 == 3], "walk")
    city.set_parameter("evacuation", {"x": 1050.0, "y": 0.0, "radius_m": 550.0})
    return world


def main() -> None:
    """Draw it."""
    mpl.rcParams.update({"svg.hashsalt": "populace", "font.size": 8, "svg.fonttype": "none"})
    world = town()
    city, places = world.city, world.city.places
    figure, axes = plt.subplots(figsize=(SIDE, 4.6), layout="constrained")
    edge = max(places.x.max(), places.y.max())
    line = np.linspace(-60, edge + 60, 30)
    x, y = np.meshgrid(line, line)
    wind = city.hazard_at(world.tick, x.ravel(), y.ravel()).reshape(x.shape)
    field = axes.contourf(x, y, wind, levels=8, cmap="Blues", alpha=0.5)
    figure.colorbar(field, label="wind at 16:40, m/s", shrink=0.85)
    for street in np.arange(0, edge + 1, 150.0):
        axes.plot([0, edge], [street, street], [street, street], [0, edge], color="white", linewidth=0.7, zorder=1)
    homes = places.kind == places.code_of("home")
    ordered = city.ordered(np.arange(len(places), dtype=np.int32))
    for some, colour in ((homes & ~ordered, "#7f7f7f"), (homes & ordered, "#c44e52")):
        axes.plot(places.x[some], places.y[some], "s", color=colour, markersize=2.2, markeredgewidth=0, zorder=2)
    axes.plot([], [], "s", color="#7f7f7f", label="home")
    axes.plot([], [], "s", color="#c44e52", label="home under an order")
    for kind, colour in COLOURS.items():
        some = places.kind == places.code_of(kind)
        axes.scatter(places.x[some], places.y[some], 14 + 3 * city.crowd[some], colour, label=kind, alpha=0.9, zorder=3)
    where = city.whereabouts()
    way = where["to"] >= 0
    axes.plot(where["x"][way], where["y"][way], ".", color="black", markersize=2.5, zorder=4, label="on the way")
    axes.set(xlabel="east, m", ylabel="north, m", aspect="equal", xlim=(-60, edge + 60), ylim=(-60, edge + 60))
    figure.legend(loc="outside left upper", frameon=False)
    target = Path(__file__).parent / "city.svg"
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main()
