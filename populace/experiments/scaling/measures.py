"""What a cell's ticks come to. Reads a file: the arithmetic is pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from populace.core.errors import StorageError
from populace.experiments.scaling.cells import Cell
from populace.experiments.scaling.watching import TICKS, TickTold


class Measured(msgspec.Struct, frozen=True):
    """A cell in figures, over its timed ticks.

    Rates are per wall second. `engine_s` is what an average tick took beyond what its slowest agent waited for the
    model; `coordinator_s` is what of an average tick went neither into turns nor into the world's closing nor into the
    checkpoint. `cpu_s_a_turn` and `bytes_an_agent` count all processes of the run on this machine, `bytes_an_agent`
    with what a run of nobody would take.
    """

    cell: Cell
    ticks: int
    turns_a_tick: float
    turns_per_s: float
    asks_per_s: float
    messages_per_s: float
    tick_s: float
    tick_p50_s: float
    tick_p99_s: float
    engine_s: float
    coordinator_s: float
    checkpoint_s: float
    cpu_s_a_turn: float
    bytes_an_agent: float


def read_ticks(folder: Path) -> list[TickTold]:
    """The timed ticks of a cell, each as it was told last. Raises StorageError for a file that is none of ours."""
    told: dict[int, TickTold] = {}
    path = folder / TICKS
    decode = msgspec.json.Decoder(TickTold).decode
    try:
        lines = path.read_bytes().splitlines() if path.exists() else []
        for number, line in enumerate(lines, 1):
            try:
                one = decode(line)
            except msgspec.DecodeError as error:
                if number == len(lines):  # cut off by a kill
                    break
                raise StorageError(f"{path}:{number}: {error}. Remove the cell's folder to measure it anew.") from None
            told[one.tick] = one
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror})") from None
    return [told[tick] for tick in sorted(told)]


def measured(cell: Cell, ticks: Sequence[TickTold]) -> Measured:
    """The figures of a cell. Raises StorageError where no tick of it was timed."""
    if not ticks:
        raise StorageError(
            f"{cell.name}: no tick was timed; the first of a run is not, so give at least two (--ticks), and more for "
            "percentiles"
        )
    wall_s = np.array([one.wall_s for one in ticks])
    whole_s = float(wall_s.sum())
    turns = sum(one.turns for one in ticks)
    stages = [one.stages_s for one in ticks]
    known = np.array([sum(of.get(name, 0.0) for name in ("turns", "resolve", "checkpoint")) for of in stages])
    return Measured(
        cell=cell,
        ticks=len(ticks),
        turns_a_tick=turns / len(ticks),
        turns_per_s=turns / whole_s,
        asks_per_s=sum(one.asks for one in ticks) / whole_s,
        messages_per_s=sum(one.messages for one in ticks) / whole_s,
        tick_s=float(wall_s.mean()),
        tick_p50_s=float(np.quantile(wall_s, 0.5)),
        tick_p99_s=float(np.quantile(wall_s, 0.99)),
        engine_s=float(np.maximum(wall_s - [one.model_s for one in ticks], 0.0).mean()),
        coordinator_s=float(np.maximum(wall_s - known, 0.0).mean()),
        checkpoint_s=float(np.mean([of.get("checkpoint", 0.0) for of in stages])),
        cpu_s_a_turn=sum(one.cpu_s for one in ticks) / max(turns, 1),
        bytes_an_agent=max(one.rss_bytes for one in ticks) / cell.agents,
    )
