"""What a shard gives turns that begin before their tick is open (`kernel.ahead`). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace.agents.agent import Agent
from populace.core.roster import Roster
from populace.kernel.ahead import Ahead, Means
from populace.kernel.ahead_columns import ColumnarPost
from populace.kernel.bus import Mail
from populace.kernel.early_mail import EarlyMail
from populace.kernel.plan import Hosted, ShardPlan
from populace.kernel.tick import Tick
from populace.kernel.units import Units


def due_in(
    types: Mapping[str, Hosted], own: Mapping[str, NDArray[np.int32]], seed: int, tick: int, size: int
) -> NDArray[np.bool_]:
    """Which of `size` agents are due in a tick by the activation of their type, of a shard's `own`, by type."""
    mask = np.zeros(size, np.bool_)
    for of, ids in own.items():
        mask[ids[types[of].activation.due(seed, tick, ids)]] = True
    return mask


def look_ahead(
    plan: ShardPlan,
    first: int,
    types: Mapping[str, Hosted],
    roster: Roster,
    *,
    seed: int,
    due: Callable[[int], NDArray[np.bool_]],
    fence: Callable[[int], bool],
    make: Callable[[int, Mail], Tick],
    keep: Callable[[Sequence[int]], None],
    pack: Callable[[int], bytes],
    fields: Callable[[Agent], dict[str, Any]],
    timers: Callable[[int], Iterable[int]],
) -> Ahead | None:
    """What begins a shard's turns early, in a run that stands before tick `first`; None where it goes tick by tick."""
    if plan.influence is None or not plan.ahead:
        return None
    columnar = {of: roster.ids(of) for of, one in types.items() if one.columns is not None}
    units = Units(plan.influence, columnar, plan.index, plan.shards)
    means = Means(
        due=due,
        fence=fence,
        make=lambda tick: make(tick, Mail([], plan.inbox_messages)),
        mail=EarlyMail(seed, plan.inbox_messages),
        post=ColumnarPost(units, seed, plan.inbox_messages),
        keep=keep,
        pack=pack,
        fields=fields,
        timers=timers,
    )
    return Ahead(units, plan, means, first=first)
