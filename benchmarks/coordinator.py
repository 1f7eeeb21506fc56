"""What a tick costs the coordinator as shards grow; `populace.experiments.scaling.coordinator` says what is measured.

python benchmarks/coordinator.py [--ticks 20]
"""

from __future__ import annotations

import argparse

import numpy as np
from figures import figure

from populace.experiments.scaling.coordinator import OTHERS, SHARDS, coordinator_s

AIM_MS = 100.0


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=20)
    parser.add_argument("--shards", type=int, nargs="+", default=list(SHARDS))
    options = parser.parse_args()
    ticks = options.ticks
    print(f"{'shards':>7} {f'{OTHERS} others':>12} {'all others':>12}   ms of CPU a tick, median")
    for shards in options.shards:
        sparse, dense = (1e3 * float(np.median(coordinator_s(shards, others, ticks))) for others in (OTHERS, shards))
        figure(
            f"coordinator, {shards:,} shards", sparse, "ms a tick", aim=AIM_MS if shards == max(SHARDS) else None,
            up=False,
        )  # fmt: skip
        print(f"{shards:7,} {sparse:12.2f} {dense:12.2f}")


if __name__ == "__main__":
    main()
