"""Schelling's segregation and Boids: agent-steps a second as coroutine agents, as columnar ones, and in Mesa 3.

Run it as `python benchmarks/mesa_models.py [--mesa PYTHON] [--only MODEL] [--agents N] [--many N] [--ticks N]
[--rounds N] [--profile KIND]`.

The societies are those of `verification/societies`, held there against Mesa's own examples with the same rule and the
same parameters. What a resident or a boid sees of its neighbours, the part works out for all at once, by NumPy over a
grid; what it does about it, each decides in its turn, or all in columns. In Mesa each agent looks around by itself.
`--mesa` is a Python that has Mesa 3 (`python -m venv V && V/bin/pip install 'mesa[network]'`). Mesa's own examples run
twice: `example` as they ship, `plain` with neither data collected nor angles for a picture worked out, which is faster.
`like` is the mean share of like neighbours in the end, `order` the length of the mean heading, which grows the faster
the fewer boids there are, and `near` how many neighbours a boid has.

Everyone has as much room whatever their number: four fifths of the cells are taken, and a boid has 100 square units.
Mesa looks at all boids for each, so its speed falls with their number; its own example has 100. What is measured of
each is said in `side_by_side.py`.
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from side_by_side import Sides, compare, options

from populace.data.societies import Origin

SOCIETIES = Path(__file__).parents[1] / "verification" / "societies"
DENSITY = 0.8
AREA = 100.0
"""Of the square, for each boid."""

MEASURE = """
import json, sys, time
import mesa

def measure(model, agents, steps, end):
    model.step()
    began = time.process_time()
    for _ in range(steps):
        model.step()
    took = time.process_time() - began
    print(len(model.agents) * steps / took, mesa.__version__, json.dumps(end(model)))

kind, agents, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
"""

SCHELLING = """
from mesa.examples.basic.schelling.model import Schelling

class Plain(Schelling):
    def step(self):
        self.happy = 0
        self.agents.shuffle_do("step")
        self.agents.do("assign_state")

def like(model):
    shares = []
    for one in model.agents:
        near = list(one.cell.get_neighborhood(radius=1).agents)
        if near:
            shares.append(sum(other.type == one.type for other in near) / len(near))
    return {"like": sum(shares) / len(shares)}

side = round((agents / DENSITY) ** 0.5)
made = (Plain if kind == "plain" else Schelling)(
    height=side, width=side, density=DENSITY, minority_pc=0.5, homophily=0.4, radius=1, seed=1
)
measure(made, agents, steps, like)
"""

BOIDS = """
import numpy as np
from mesa.examples.basic.boid_flockers.model import BoidFlockers

class Plain(BoidFlockers):
    def step(self):
        self.agents.shuffle_do("step")

def order(model):
    headings = np.array([one.direction for one in model.agents])
    headings /= np.linalg.norm(headings, axis=1)[:, None]
    near = [len(one.get_neighbors_in_radius(radius=one.vision)[0]) for one in model.agents]
    return {"order": float(np.linalg.norm(headings.mean(axis=0))), "near": float(np.mean(near))}

side = (agents * AREA) ** 0.5
made = (Plain if kind == "plain" else BoidFlockers)(population_size=agents, width=side, height=side, seed=1)
measure(made, agents, steps, order)
"""


def origins(name: str) -> dict[str, Origin]:
    """Both kinds of agents of a society of `verification/societies`."""
    path = SOCIETIES / f"{name}.py"
    text = path.read_text(encoding="utf-8")
    return {kind: Origin(f"{path}:{of}", text) for kind, of in (("coroutine", "each"), ("columnar", "society"))}


MODELS = {
    "schelling": Sides(
        title="Schelling's segregation",
        ours=origins("segregation"),
        parameters=lambda agents: {"side": round((agents / DENSITY) ** 0.5)},
        program=MEASURE + SCHELLING.replace("DENSITY", str(DENSITY)),
        at_end=("like",),
        agents=5_000,
        many=500_000,
        ticks=20,
    ),
    "flocking": Sides(
        title="Boids' flocking",
        ours=origins("flocking"),
        parameters=lambda agents: {"side": (agents * AREA) ** 0.5},
        program=MEASURE + BOIDS.replace("AREA", str(AREA)),
        at_end=("order", "near"),
        agents=300,
        many=20_000,
        ticks=100,
    ),
}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--only", choices=MODELS, help="one of the models")
    given = parser.parse_args()
    for name, sides in MODELS.items():
        if given.only in (None, name):
            compare(sides, given, Console())


if __name__ == "__main__":
    main()
