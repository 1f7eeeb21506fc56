"""Whether an agent's id says anything about what becomes of it.

Fairness to ids cannot be read off one run: a population may be sorted, and a ring of neighbours makes agents of near
ids alike. So the rows of the population are dealt to ids by lot, anew for each seed, and each seed is one independent
observation. Where ids favour nobody, what an agent ends with depends on its row, its place and its draws, none of which
goes by its id. Two tests by randomisation, each against what would break that:

1. The mean over seeds of Spearman's rank correlation between id and field. Under the null a seed's correlation has
   either sign with equal probability, however agents depend on each other within a run; the p-value is that of all
   sign flips (for more than 12 seeds, of 9,999 draws of them).
2. The id whose mean rank over seeds stands out most. Under the null every id's rank is as good as dealt by lot; the
   p-value is that of 1,999 dealings of the ranks within each seed, each giving its own largest deviation, which
   corrects for the number of ids (Westfall and Young's maxT).

Observed values count among what is drawn (Phipson and Smyth 2010), and the p-values are corrected for all tests and
fields by Holm's method. With S seeds none of the first is below 2^(1-S): seeds too few to find anything are refused.

What it finds may be meant: where a network grows by preferential attachment in the order of ids, the first ids have
the most neighbours.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from populace.agents.agent import public_fields
from populace.agents.types import counts_of
from populace.core.errors import SettingsError
from populace.core.roster import Roster
from populace.data.societies import forget, load_society
from populace.runs.front import Given, given_origin, settings_of
from populace.runs.run import run_society
from populace.runs.stop import Stop, in_background
from populace.store.tables.tables import panel
from populace.testing.invariants import InvariantBroken
from populace.testing.variants import varied

_EXACT: Final = 12
_DRAWS: Final = 9_999
_DEALINGS: Final = 1_999
_HELD: Final = 2**20
"""Values held in memory at once."""


class Favoured(msgspec.Struct, frozen=True):
    """What was found of one field. `trend` is the mean of Spearman's correlation with the id over seeds, -1 to 1.

    `p_trend`, and `p_id` of the id that stands out most (`id`; its mean `rank` is 0 for the lowest, 1 for the highest),
    are corrected for all fields and tests.
    """

    field: str
    seeds: int
    trend: float
    p_trend: float
    id: int
    rank: float
    p_id: float


def check_no_favoured_id(
    society: Given,
    fields: str | Sequence[str],
    *,
    seeds: int = 12,
    first_seed: int = 0,
    agents: int | None = None,
    ticks: int | None = None,
    model: Literal["scripted", "rules", "placebo"] = "scripted",
    parameters: Mapping[str, Any] | None = None,
    settings: str | Path | Mapping[str, Any] | None = None,
    significance: float = 0.01,
) -> list[Favoured]:
    """Check that no public field, as it is at the end, goes by its agent's id; raises InvariantBroken if one does.

    Runs the society once for each seed, its population's rows dealt to ids by lot, and tests as this module's docstring
    says: a fair society fails with probability `significance`. `fields` are float, int or bool; in a society with types
    those of each type are compared among themselves. Raises SettingsError
    where `seeds` are too few to find anything, and PopulaceError where the society cannot be run.
    """
    names = [fields] if isinstance(fields, str) else list(fields)
    needed = int(np.ceil(np.log2(2 * 2 * max(1, len(names)) / significance)))
    if seeds < needed:
        raise SettingsError(f"seeds={seeds}: with less than {needed} nothing can be significant at {significance}.")
    kind = "scripted" if model == "placebo" else model
    origin = given_origin(society)
    if model == "placebo":
        origin = varied(origin, "without_script")
    origin = varied(origin, "relabelled")
    society = load_society(origin)
    known = society.fields
    for name in names:
        if known.get(name) not in (float, int, bool):
            there = ", ".join(one for one, kind_of in known.items() if kind_of in (float, int, bool))
            raise SettingsError(f"{name!r} is no public field of numbers. Those there are: {there or 'none'}.")
    having = {name: [of for of, kind_of in society.classes.items() if name in public_fields(kind_of)] for name in names}
    ends: dict[str, list[NDArray[np.float64]]] = {}
    ids: dict[str, NDArray[np.int32]] = {}
    for seed in range(first_seed, first_seed + seeds):
        chosen = settings_of(settings, parameters, agents=agents, ticks=ticks, model__kind=kind, seed=seed)
        with tempfile.TemporaryDirectory(prefix="populace-check-") as folder:
            forget(origin)
            stop, out = Stop(), Path(folder) / "run"
            in_background(lambda: run_society(origin, chosen, out, stop=stop), stop, lambda: None)  # noqa: B023
            roster = Roster(counts_of(society, chosen.agents))
            for name in names:
                values = panel(out, name)[-1].astype(np.float64)
                for of in having[name]:
                    label = f"{name} of {of}" if society.types else name
                    ids[label] = roster.members(of)
                    if np.isnan(values[ids[label]]).any():
                        raise SettingsError(f"agents leave, or have no number, so ids cannot be compared by {label}.")
                    ends.setdefault(label, []).append(values[ids[label]])
    found = favoured_ids({label: np.array(rows) for label, rows in ends.items()})
    found = [msgspec.structs.replace(one, id=int(ids[one.field][one.id])) for one in found]
    for one in found:
        if min(one.p_trend, one.p_id) < significance:
            raise InvariantBroken("favoured", f"field {one.field!r}, {seeds} seeds", _told(one))
    return found


def favoured_ids(ends: Mapping[str, NDArray[np.float64]]) -> list[Favoured]:
    """The tests of this module's docstring on values of shape (seeds, agents), by field."""
    raw: list[float] = []
    parts: list[tuple[str, int, float, int, float]] = []
    for name, values in ends.items():
        seeds, agents = values.shape
        ranks = stats.rankdata(values, axis=1)
        above = (ranks - (agents + 1) / 2) / max(1, agents - 1)  # -0.5, lowest, to 0.5
        ids = np.arange(agents) - (agents - 1) / 2
        spread = np.sqrt((above**2).sum(axis=1) * (ids**2).sum())
        trends = np.divide(above @ ids, spread, out=np.zeros(seeds), where=spread > 0)
        signs = _signs(seeds)
        trend, means = float(trends.mean()), above.mean(axis=0)
        flipped, all_of_them = np.abs(signs @ trends) / seeds, seeds <= _EXACT
        raw.append(_p(flipped, abs(trend), drawn=not all_of_them))
        raw.append(_p(_dealt(above), float(np.abs(means).max()), drawn=True))
        most = int(np.abs(means).argmax())
        parts.append((name, seeds, trend, most, float(means[most]) + 0.5))
    p = _holm(raw)
    return [
        Favoured(name, seeds, trend, p[2 * n], most, rank, p[2 * n + 1])
        for n, (name, seeds, trend, most, rank) in enumerate(parts)
    ]


def _signs(seeds: int) -> NDArray[np.float64]:
    """Every way of flipping the seeds' signs (but for flipping all of them), or draws of such."""
    if seeds <= _EXACT:
        return np.array([(1.0, *rest) for rest in product((1.0, -1.0), repeat=seeds - 1)])
    return np.random.Generator(np.random.PCG64(seeds)).choice((-1.0, 1.0), size=(_DRAWS, seeds))


def _dealt(above: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest deviation of an id's mean, for each dealing of the values of each seed to its ids."""
    draw = np.random.Generator(np.random.PCG64(above.shape))
    at_once = max(1, _HELD // above.size)
    found = []
    for begin in range(0, _DEALINGS, at_once):
        many = np.tile(above, (min(at_once, _DEALINGS - begin), 1))
        means = draw.permuted(many, axis=1).reshape(-1, *above.shape).mean(axis=1)
        found.append(np.abs(means).max(axis=1))
    return np.concatenate(found)


def _p(null: NDArray[np.float64], observed: float, *, drawn: bool) -> float:
    """The share of a null distribution as far out as what was observed, which counts too where it was drawn."""
    as_far = int((null >= observed - 1e-12).sum())
    return (as_far + 1) / (len(null) + 1) if drawn else as_far / len(null)


def _holm(p: Sequence[float]) -> list[float]:
    """Holm's correction (1979) of p-values for their number."""
    corrected, least = [0.0] * len(p), 0.0
    for rank, at in enumerate(np.argsort(p, kind="stable").tolist()):
        least = max(least, min(1.0, (len(p) - rank) * p[at]))
        corrected[at] = least
    return corrected


def _told(one: Favoured) -> str:
    return (
        f"Spearman's correlation of {one.field} with the id is {one.trend:+.3f} on average over {one.seeds} seeds "
        f"(p = {one.p_trend:.2g}); agent {one.id} has mean rank {one.rank:.2f} of 0 to 1 (p = {one.p_id:.2g}; both "
        "corrected for all tests)."
    )
