"""Two Ray nodes on this machine, each with a cache folder of its own, until standard input ends."""

from __future__ import annotations

import sys
from pathlib import Path

from ray.cluster_utils import Cluster


def main(folder: Path) -> None:
    cluster = Cluster()
    for number in range(2):
        cluster.add_node(num_cpus=2, env_vars={"POPULACE_CACHE": str(folder / f"cache-{number}")})
    print(cluster.address, flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
