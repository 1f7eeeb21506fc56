"""A score card: simulated answers of people against their own, item by item, with what has to be beaten. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from populace.core.errors import ScenarioError
from populace.experiments.inference.arrays import Floats
from populace.experiments.inference.effects import Effect, adjusted, effect
from populace.experiments.score import measures
from populace.experiments.score.effects import EffectsScore, contrast, score_effects, split_half
from populace.experiments.score.worth import Worth, worth

Verdict = Literal["beats", "loses to", "is not told from"]


@dataclass(frozen=True)
class Against:
    """A simulation against one baseline on one item.

    `effect.difference` is the simulation's mean absolute error less the baseline's, over the same people (of a vote:
    the share that is wrong), so below 0 is better; `verdict` goes by its p-value by Holm over all items and baselines.
    """

    baseline: str
    accuracy: float
    error: float
    effect: Effect
    verdict: Verdict


@dataclass(frozen=True)
class ItemScore:
    """One item: see the functions of `measures`. `answered` of `people` have a simulated answer; the rest are left out.

    `over_retest` is NaN without a retest of people. `worst_group` is (group, mean absolute error, people) or None.
    """

    item: str
    people: int
    answered: int
    mean_human: float
    mean_simulated: float
    accuracy: float
    over_retest: float
    error: float
    r: float
    slope: float
    intercept: float
    variance_ratio: float
    wasserstein: float
    overlap: float
    worst_group: tuple[str, float, int] | None
    stereotyping: float
    against: tuple[Against, ...]
    worth: Worth | None


@dataclass(frozen=True)
class ScoreCard:
    """Items, effects of groups over all items, and the ceiling of their correlation among people themselves.

    `effects` is None where fewer than three effects can be had.
    """

    items: tuple[ItemScore, ...]
    effects: EffectsScore | None
    ceiling: float

    @property
    def beats_all(self) -> bool:
        """Whether every baseline is beaten on every item."""
        return all(one.verdict == "beats" for item in self.items for one in item.against)


def score(
    human: Mapping[str, Any],
    simulated: Mapping[str, Any],
    baselines: Mapping[str, Mapping[str, Any]],
    *,
    groups: Mapping[str, Any],
    stereotype: str,
    contrasts: Mapping[str, tuple[Any, Any]],
    retest: Mapping[str, Any] | None = None,
    asked: int | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> ScoreCard:
    """Score answers by item, (people,) each: `human`, `simulated` (NaN for none), and `baselines[name][item]`.

    `groups` are columns of labels, for the worst served; `stereotype` is the one of them whose stereotypes are
    measured; `contrasts` are pairs of bool (people,), each a group against another, whose differences are the effects.
    `retest` are the people's answers a second time. With `asked`, so many of the people, at random, are taken for a
    human sample and the others for simulated ones only, which gives `worth`. Raises ScenarioError for an item that is
    not in all, and for `stereotype` that is no group.
    """
    items = list(human)
    for what, table in (("simulated", simulated), *baselines.items()):
        if missing := sorted(set(items) - set(table)):
            raise ScenarioError(f"{what}: there are no answers to {', '.join(missing)}")
    if stereotype not in groups:
        raise ScenarioError(f"stereotype={stereotype!r}: the groups are {', '.join(groups)}")
    against = _against(items, human, simulated, baselines, level, seed)
    scores = [_item(item, human, simulated, groups, stereotype, retest, asked, against, level, seed) for item in items]
    return ScoreCard(tuple(scores), *_effects(human, simulated, contrasts, seed))


def _there(item: str, human: Mapping[str, Any], simulated: Mapping[str, Any]) -> tuple[Floats, Floats, Any]:
    """Human and simulated answers of those who have one, and who these are."""
    ours = np.asarray(simulated[item], dtype=np.float64)
    theirs = np.asarray(human[item], dtype=np.float64)
    if ours.shape != theirs.shape:
        raise ScenarioError(f"{item}: {theirs.shape} human answers and {ours.shape} simulated ones")
    told = ~np.isnan(ours)
    if told.sum() < 2:
        raise ScenarioError(f"{item}: {int(told.sum())} simulated answers; two people or more are needed")
    return measures.answers(theirs[told], f"human {item}"), ours[told], told


def _against(
    items: Sequence[str],
    human: Mapping[str, Any],
    simulated: Mapping[str, Any],
    baselines: Mapping[str, Mapping[str, Any]],
    level: float,
    seed: int,
) -> dict[str, list[Against]]:
    tested, shown = [], []
    for item in items:
        theirs, ours, told = _there(item, human, simulated)
        for name, table in baselines.items():
            rival = np.asarray(table[item], dtype=np.float64)[told]
            missed, rivals = np.abs(ours - theirs), np.abs(rival - theirs)
            tested.append(effect(missed, rivals, arm=name, outcome=item, level=level, seed=seed))
            shown.append((item, name, measures.accuracy(theirs, rival), measures.error(theirs, rival)))
    found: dict[str, list[Against]] = {item: [] for item in items}
    for one, (item, name, hit, missed_by) in zip(adjusted(tested), shown, strict=True):
        sure = one.p_adjusted <= 1.0 - level
        verdict: Verdict = ("beats" if one.difference < 0 else "loses to") if sure else "is not told from"
        found[item].append(Against(name, hit, missed_by, one, verdict))
    return found


def _item(
    item: str,
    human: Mapping[str, Any],
    simulated: Mapping[str, Any],
    groups: Mapping[str, Any],
    stereotype: str,
    retest: Mapping[str, Any] | None,
    asked: int | None,
    against: Mapping[str, list[Against]],
    level: float,
    seed: int,
) -> ItemScore:
    theirs, ours, told = _there(item, human, simulated)
    of = {name: np.asarray(labels)[told] for name, labels in groups.items()}
    again = None if retest is None else np.asarray(retest[item], dtype=np.float64)[told]
    line = measures.calibration(theirs, ours)
    return ItemScore(
        item=item,
        people=len(told),
        answered=len(ours),
        mean_human=float(theirs.mean()),
        mean_simulated=float(ours.mean()),
        accuracy=measures.accuracy(theirs, ours),
        over_retest=float("nan") if again is None else measures.over_retest(theirs, ours, again),
        error=measures.error(theirs, ours),
        r=measures.correlation(theirs, ours),
        slope=line.slope,
        intercept=line.intercept,
        variance_ratio=measures.variance_ratio(theirs, ours),
        wasserstein=measures.wasserstein(theirs, ours),
        overlap=measures.overlap(theirs, ours),
        worst_group=measures.worst_group(theirs, ours, of),
        stereotyping=measures.stereotyping(theirs, ours, of[stereotype]),
        against=tuple(against[item]),
        worth=None if asked is None else _worth(theirs, ours, asked, level, seed),
    )


def _worth(theirs: Floats, ours: Floats, asked: int, level: float, seed: int) -> Worth | None:
    if not 2 <= asked <= len(theirs) - 2:
        return None
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(theirs))
    sample, others = order[:asked], order[asked:]
    return worth(theirs[sample], ours[sample], ours[others], level)


def _effects(
    human: Mapping[str, Any], simulated: Mapping[str, Any], contrasts: Mapping[str, tuple[Any, Any]], seed: int
) -> tuple[EffectsScore | None, float]:
    """Effects in standard deviations of the human answers, so that items of other units stand side by side."""
    told = ~np.isnan(np.column_stack([np.asarray(simulated[item], dtype=np.float64) for item in human])).any(axis=1)
    rows = []
    table = []
    for item in human:
        theirs, ours = (np.asarray(one[item], dtype=np.float64)[told] for one in (human, simulated))
        unit = theirs.std() or 1.0
        table.append(theirs / unit)
        for first, second in contrasts.values():
            groups = np.asarray(first)[told], np.asarray(second)[told]
            rows.append((*contrast(theirs / unit, *groups), *contrast(ours / unit, *groups)))
    made = np.array([row for row in rows if np.isfinite(row).all()])
    if len(made) < 3:
        return None, float("nan")
    firsts, seconds = (np.column_stack([np.asarray(pair[at])[told] for pair in contrasts.values()]) for at in (0, 1))
    ceiling = split_half(np.column_stack(table), firsts, seconds, seed)
    return score_effects(made[:, 0], made[:, 1], made[:, 2], made[:, 3]), ceiling
