"""Draws the lots in levers: who is treated within a run. Shell: builds societies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.cluster.job import build_run, plan_job
from populace.core.draws import column
from populace.core.errors import ScenarioError
from populace.data.societies import Origin
from populace.env import Network
from populace.experiments.randomised import Randomised, filled, lots_in
from populace.settings import Settings


class Drawn(msgspec.Struct, frozen=True):
    """Whom a lot treats in one replicate: `cluster` has the community of each agent (its own number without)."""

    key: str
    cluster: NDArray[np.int32]
    treated: NDArray[np.bool_]


def drawn_levers(
    levers: Iterable[Mapping[str, Any]], assignments: Mapping[tuple[str, float], Drawn]
) -> list[dict[str, Any]]:
    """The levers with the ids of who is drawn in place of lots."""

    def ids(one: Randomised) -> list[int]:
        return np.flatnonzero(assignments[one.key, one.share].treated).tolist()

    return [filled(lever, ids) for lever in levers]


def draw_lots(
    origin: Origin, settings: Settings, levers: Iterable[Mapping[str, Any]]
) -> dict[tuple[str, float], Drawn]:
    """Whom the lots in these levers treat in a run with these settings, by key and share."""
    lots = [one for lever in levers for one in lots_in(lever)]
    if not lots:
        return {}
    bare = settings.model_copy(update={"levers": ()})
    world = build_run(plan_job(origin, bare, whole=False)).environment.world
    found = {}
    for one in lots:
        cluster = _communities(world, origin) if one.by == "communities" else np.arange(world.agents, dtype=np.int32)
        units = int(cluster.max()) + 1 if len(cluster) else 0
        order = np.argsort(column(settings.seed, 0, f"experiment.{one.key}", np.arange(units)), kind="stable")
        chosen = np.zeros(units, np.bool_)
        chosen[order[: int(one.share * units + 0.5)]] = True
        found[one.key, one.share] = Drawn(one.key, cluster, chosen[cluster])
    return found


def _communities(world: Any, origin: Origin) -> NDArray[np.int32]:
    """The community of each agent: greedy modularity (Clauset, Newman and Moore 2004), which draws nothing."""
    network = next((part for part in world.parts.values() if isinstance(part, Network)), None)
    if network is None:
        raise ScenarioError(f"{origin.name}: its world has no Network, so there are no communities to draw")
    graph = network.to_igraph().as_undirected(combine_edges="sum").simplify(combine_edges="sum")
    found = graph.community_fastgreedy(weights="weight").as_clustering()
    return np.array(found.membership, np.int32)
