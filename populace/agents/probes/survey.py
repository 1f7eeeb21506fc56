"""What a survey is: an instrument, the ticks of its waves, and who is asked. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from populace.agents.probes.instrument import Instrument
from populace.core.draws import words
from populace.core.errors import ScenarioError

Sample: TypeAlias = float | int | Sequence[int] | None
"""Who is asked: a share of all (0.1), a number of them (50), agents by id ([3, 7]), or all (None)."""
NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
"""What a survey may be called, as a pattern: its table is a file of that name."""


@dataclass(frozen=True)
class Survey:
    """An instrument asked of a sample of agents, before each tick of `at`.

    `instrument` is one, the name of one that ships (`cesd`), or a TOML file with one. A tick that stands in `at` twice
    is asked twice: a retest of the model on the same agents. All waves ask the same sample, but for those who have
    left; where it is a share or a number, it is drawn by (seed, name, agent). `type` bounds it to agents of one type.

    `shuffle` shows options without an order in an order drawn for each agent, wave and item, and turns every second
    scale around. `weight` names a field of the agents that holds their weights. `together` asks all items in one
    question, as on one sheet of paper: it costs less, and answers may depend on one another. `model_role` says which
    model answers. `name` is what its table is called, that of the instrument unless given.

    Raises ScenarioError for what cannot be.
    """

    instrument: Instrument | str
    at: Sequence[int] = ()
    sample: Sample = None
    name: str = ""
    type: str | None = None
    shuffle: bool = False
    weight: str | None = None
    together: bool = False
    model_role: str = ""

    def __post_init__(self) -> None:
        name = self.name or (self.instrument.name if isinstance(self.instrument, Instrument) else "")
        said = f"survey {name or self.instrument!r}"
        if name and not re.fullmatch(NAME, name):
            raise ScenarioError(f"{said}: name has to be letters, digits, _, . and -, since its table is called so")
        if any(not isinstance(tick, int) or tick < 0 for tick in self.at):
            raise ScenarioError(f"{said}: at={list(self.at)}: ticks are whole numbers from 0 on")
        check_sample(self.sample, said)

    def waves(self) -> list[tuple[int, int]]:
        """The waves in order, each a tick and how often that tick was asked before."""
        ticks = sorted(self.at)
        return [(tick, ticks[:place].count(tick)) for place, tick in enumerate(ticks)]


def check_sample(sample: Sample, said: str) -> None:
    """Raise ScenarioError for what is no sample; `said` begins the message."""
    form = "a share (0.1), a number of agents (50), or agents' ids ([3, 7])"
    if sample is None:
        return
    if isinstance(sample, bool | str | Mapping):
        raise ScenarioError(f"{said}: sample={sample!r} has to be {form}")
    if isinstance(sample, float):
        if not 0.0 < sample <= 1.0:
            raise ScenarioError(f"{said}: sample={sample} as a share has to be above 0 and at most 1")
    elif isinstance(sample, int):
        if sample < 1:
            raise ScenarioError(f"{said}: sample={sample} asks nobody")
    else:
        try:
            ids = [index(one) for one in sample]
        except TypeError:
            raise ScenarioError(f"{said}: sample={sample!r} has to be {form}") from None
        if not ids or len(set(ids)) < len(ids):
            raise ScenarioError(f"{said}: sample={ids} has to name agents, each once")


def drawn(sample: Sample, there: NDArray[np.int32], name: str, seed: int) -> NDArray[np.int32]:
    """Who of those there (ids, sorted) are asked, sorted.

    A share or a number takes those of the lowest numbers drawn by (seed, survey, agent): a larger sample holds a
    smaller one, and who leaves is replaced by the next. Agents that are named and not there are left out.
    """
    if sample is None:
        return there
    if isinstance(sample, float | int):
        many = max(1, round(sample * len(there))) if isinstance(sample, float) else sample
        lot = words(seed, 0, f"probes/sample/{name}", there)
        return np.sort(there[np.argsort(lot, kind="stable")[:many]])
    wanted = np.array([index(one) for one in sample], np.int64)
    return there[np.isin(there, wanted)]
