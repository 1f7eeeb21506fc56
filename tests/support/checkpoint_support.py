"""What the tests of checkpoints share: equality all the way down, and a history of saves."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

from populace.kernel.blocks import Rows
from populace.store.checkpoint.generations import Checkpoints


def same(one: Any, two: Any) -> bool:
    """Equal in value and in type, all the way down; NaNs are equal by their bytes."""
    if type(one) is not type(two):
        return False
    if isinstance(one, np.ndarray):
        if one.dtype != two.dtype or one.shape != two.shape:
            return False
        return one.tolist() == two.tolist() if one.dtype == object else one.tobytes() == two.tobytes()
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two) or repr(one) == repr(two) == "nan"


def make_history(folder: Path) -> dict[int, dict[str, Any]]:
    """Twelve saves, the later ones with reference to files of the earlier ones: what each tick's state was."""
    rng = random.Random(5)
    store = Checkpoints(folder, run="r")
    rows = {n: rng.randbytes(20) for n in range(300)}
    world = np.arange(200, dtype=np.int32)
    states = {}
    store.save(0, {"rows": Rows(rows, whole=True), "world": world, "plain": {"tick": 0}, "raw": b"raw"})
    states[0] = {"rows": dict(rows), "world": world, "plain": {"tick": 0}, "raw": b"raw"}
    for tick in range(1, 12):
        delta = {rng.randrange(300): rng.randbytes(20) for _ in range(3)}
        rows.update(delta)
        store.save(tick, {"rows": Rows(delta), "plain": {"tick": tick}}, unchanged=["world", "raw"])
        states[tick] = {"rows": dict(rows), "world": world, "plain": {"tick": tick}, "raw": b"raw"}
    return states
