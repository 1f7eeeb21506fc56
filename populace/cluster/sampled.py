"""Whether the agents that a survey names are there to be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import index
from typing import Final

import numpy as np
from numpy.typing import NDArray

from populace.agents.probes.survey import Survey
from populace.core.errors import SettingsError

_IDS_NAMED: Final = 10


def check_named(survey: Survey, name: str, tick: int, there: Mapping[str, NDArray[np.int32]]) -> None:
    """Raise SettingsError for agents that a survey names and that never were by then, or are of another type.

    Who has left is left out of a wave, and no mistake.
    """
    if survey.sample is None or isinstance(survey.sample, float | int):
        return
    last = max((int(ids[-1]) for ids in there.values() if len(ids)), default=-1)
    named = sorted({index(one) for one in survey.sample})
    unknown = [one for one in named if not 0 <= one <= last]
    if unknown:
        raise SettingsError(
            f"survey {name!r}: sample names {_ids(unknown)}, and before tick {tick} ids go from 0 to {last}"
        )
    others = [one for of, ids in there.items() if survey.type not in (None, of) for one in ids.tolist()]
    if wrong := sorted(set(named) & set(others)):
        raise SettingsError(f"survey {name!r}: sample names {_ids(wrong)}, of another type than {survey.type!r}")


def _ids(agents: Sequence[int]) -> str:
    shown = ", ".join(map(str, agents[:_IDS_NAMED]))
    more = f" and {len(agents) - _IDS_NAMED} more" if len(agents) > _IDS_NAMED else ""
    return f"agent{'s' if len(agents) > 1 else ''} {shown}{more}"
