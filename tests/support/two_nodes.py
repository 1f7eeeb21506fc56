"""Run in a process of its own: a Ray of two nodes, and a run whose shards stand on both.

    python two_nodes.py RUN_FOLDER OPTIONS_JSON [forgetting]

The first line printed is the process id of the second node's raylet, whose children are that node's workers; the last
is JSON: when each tick ended, what was noted, and how the run ended. With `forgetting` a recovery gives the agents
nothing of what they were.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import msgspec
from ray.cluster_utils import Cluster

sys.path.insert(0, str(Path(__file__).parents[1]))

from populace.cluster.coordinator import Coordinator
from populace.cluster.ray import RayTransport
from populace.core.errors import PopulaceError
from populace.data.societies import find_society
from support.chaos import Clock
from support.running import SOCIETIES, settings_of

NODE_CPUS = 2


class Forgetting(RayTransport):
    """Makes lost agents anew, as if they had never taken a turn."""

    async def restore(self, state):  # type: ignore[no-untyped-def]
        return await super().restore(msgspec.structs.replace(state, agents={}))


def main(out: str, options: str, forgetting: str = "") -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": NODE_CPUS, "include_dashboard": False})
    second = cluster.add_node(num_cpus=NODE_CPUS)
    (raylet,) = second.all_processes["raylet"]
    print(raylet.process.pid, flush=True)
    os.environ["RAY_ADDRESS"] = cluster.address
    transport = Forgetting() if forgetting else RayTransport()
    clock, error, code = Clock(), "", 0
    settings = settings_of(transport="ray", **json.loads(options))
    try:
        asyncio.run(Coordinator(find_society(SOCIETIES), settings, transport, Path(out), [clock]).run())
    except PopulaceError as failed:
        error, code = str(failed), failed.exit_code
    print(json.dumps({"ticks": clock.ticks, "notes": clock.notes, "error": error, "code": code}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
