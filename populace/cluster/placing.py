"""How much of a CPU each process of a run takes, and when it is worth moving. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_RESOLUTION: Final = 10_000
"""Ray counts CPUs in ten thousandths."""
WORTH_IT: Final = 1.5
"""How much larger everybody's share must be before all shards move to other nodes."""


def cpu_share(cpus: Sequence[float], processes: int) -> float:
    """The largest share of a CPU, at most one, of which nodes with these CPUs hold so many.

    One where they have none: the processes then wait for the cluster to grow.
    """
    wanted = {min(1.0, of / parts) for of in set(cpus) if of > 0 for parts in range(1, processes + 1)}
    for share in sorted(wanted, reverse=True):
        units = int(share * _RESOLUTION + 1e-6)
        if units and sum(int(of * _RESOLUTION + 1e-6) // units for of in cpus) >= processes:
            return units / _RESOLUTION
    return 1.0
