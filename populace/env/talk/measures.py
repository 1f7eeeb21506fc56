"""What is measured of conversations that ended in a tick: spread within them, length, who agrees first. NaN of none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace.env.talk.part import Talk

NAN = float("nan")


def ended_in(talk: Talk, tick: int) -> dict[str, Any]:
    """The rows of `Talk.ended()` that ended in a tick: arrays and lists, as there."""
    table = talk.ended()
    rows = np.flatnonzero(table["ended"] == tick).tolist()
    return {
        name: column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows]
        for name, column in table.items()
    }


def spread_change(
    talk: Talk, tick: int, ids: NDArray[Any], now: NDArray[np.float64], before: NDArray[np.float64]
) -> float:
    """The change of the standard deviation within a conversation, mean over those that ended in a tick.

    `now` and `before` are columns of attitudes of the agents `ids`, which ascend.
    """
    rows = [np.searchsorted(ids, members) for members in ended_in(talk, tick)["ids"]]
    changes = [float(np.std(now[one]) - np.std(before[one])) for one in rows]
    return float(np.mean(changes)) if changes else NAN


def lines(talk: Talk, tick: int) -> float:
    """How many lines a conversation took, mean over those that ended in a tick."""
    found = ended_in(talk, tick)["lines"]
    return float(found.mean()) if len(found) else NAN


def first_speaker_agrees(talk: Talk, tick: int) -> float:
    """Of the conversations of a tick in which somebody agreed, the share in which it was who spoke first."""
    table = ended_in(talk, tick)
    found = [who == ids[0] for ids, who in zip(table["ids"], table["first_to_agree"].tolist(), strict=True) if who >= 0]
    return float(np.mean(found)) if found else NAN
