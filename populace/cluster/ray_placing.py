"""Where on a Ray the actors of a run stand: the world beside the head, the shards spread over all nodes.

Shards have a placement group, about one a core, which is there as a whole or waited for as a whole: two runs that begin
at once on a cluster for one never hold a half each. A lost node's shards are made anew in what the group is given
elsewhere; where there is nothing, they share CPUs with the others until nodes have joined, and move then.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

import ray
from ray._private.state import state as _cluster  # what a drain tells is in no public module
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from populace.cluster.liveness import aside
from populace.cluster.placing import WORTH_IT, cpu_share

_ASKING_S: Final = 120.0
"""How long Ray may take to say what there is."""
_EVERY_S: Final = 2.0
"""How often nodes are looked at."""


class Placing:
    """The places of one run's world and shards: `measure`, the world, `take`, the shards; held until `close`."""

    def __init__(self) -> None:
        self.share = 1.0
        """The share of a CPU that each actor takes."""
        self._group: PlacementGroup | None = None
        self._shards = 0
        self._crowded: set[int] = set()
        self._better: list[int] = []
        self._task: asyncio.Task[None] | None = None

    async def measure(self, shards: int) -> None:
        """Give back what there is, and see what there is for a world and so many shards."""
        await self.close()
        self._shards, self._crowded, self._better = shards, set(), []
        there = await aside(_staying, patience_s=_ASKING_S)
        self.share = cpu_share(list(there.values()), shards + 1)

    async def take(self, shards: int) -> None:
        """Ask for places for the shards; they may take their time, as a cluster may have to grow.

        The world stands before: it waits for room beside the head, which a group might have taken.
        """
        if self._group is not None:
            return
        bundles = [{"CPU": self.share}] * shards
        self._group = await aside(lambda: placement_group(bundles, strategy="SPREAD"), patience_s=_ASKING_S)
        self._task = asyncio.create_task(self._watch(), name="populace places")

    def shard(self, index: int) -> dict[str, Any]:
        """Options of a shard's actor."""
        assert self._group is not None
        self._crowded.discard(index)
        place = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=index)
        return {"num_cpus": self.share, "scheduling_strategy": place}

    def crowded(self, index: int) -> dict[str, Any]:
        """Options of a shard's actor that shares CPUs with others."""
        self._crowded.add(index)
        return {"num_cpus": 0, "scheduling_strategy": "SPREAD"}

    async def world(self) -> dict[str, Any]:
        """Options of the world's actor."""
        head = await aside(_head, patience_s=_ASKING_S)
        place = (
            "DEFAULT" if head is None else NodeAffinitySchedulingStrategy(head, soft=True, _spill_on_unavailable=True)
        )
        return {"num_cpus": self.share, "scheduling_strategy": place}

    async def has_room(self, index: int) -> bool:
        """Whether the shard's place is on a node that stays."""
        return await aside(self._has_room, index, patience_s=_ASKING_S)

    def better(self) -> list[int]:
        """The shards that have a better place now: on a node that joined, or off one that is to go."""
        return self._better

    async def close(self) -> None:
        """Give the places back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        if self._group is not None:
            group, self._group = self._group, None
            with suppress(TimeoutError, ray.exceptions.RayError):
                await aside(remove_placement_group, group, patience_s=3.0)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            with suppress(TimeoutError, ray.exceptions.RayError):
                self._better = await aside(self._look, patience_s=_ASKING_S)

    def _look(self) -> list[int]:
        if self._group is None:
            return []
        there, at = _staying(), placement_group_table(self._group)["bundles_to_node_id"]
        share = cpu_share(list(there.values()), self._shards + 1) if any(there.values()) else 0.0
        gone = [index for index, node in at.items() if node and node not in there and index not in self._crowded]
        if share >= WORTH_IT * self.share or (gone and share >= self.share):
            return list(range(self._shards))
        return sorted(gone or (index for index in self._crowded if at.get(index) in there))

    def _has_room(self, index: int) -> bool:
        return placement_group_table(self._group)["bundles_to_node_id"].get(index) in _staying()


def _staying() -> dict[str, float]:
    """The nodes that are alive and not about to go, and how many CPUs each has."""
    leaving = _cluster.get_draining_nodes()
    return {node: of for node, of in _cpus() if node not in leaving}


def _cpus() -> list[tuple[str, float]]:
    """The nodes that are alive, and how many CPUs each has."""
    return [(node["NodeID"], float(node["Resources"].get("CPU", 0.0))) for node in ray.nodes() if node["Alive"]]


def _head() -> str | None:
    """The head's node."""
    for node in ray.nodes():
        if node["Alive"] and "node:__internal_head__" in node["Resources"]:
            return str(node["NodeID"])
    return None
