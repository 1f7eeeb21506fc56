"""Instruments are scored by their published keys; a wrong key, a wrong range and a wrong missing rule are seen."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from populace import probes
from populace.core.errors import ScenarioError

ALL = (
    probes.CESD, probes.CESD10, probes.BFI10, probes.IPIP25, probes.PANAS, probes.SPANE, probes.TRUST,
    probes.NET_PROMOTER, probes.LIBERAL_CONSERVATIVE, probes.LEFT_RIGHT,
)  # fmt: skip
PUBLISHED = {
    # instrument: scale: (reversed items by number, lowest and highest score)
    "CESD": {"depression": ({4, 8, 12, 16}, 0, 60)},
    "CESD10": {"depression": ({5, 8}, 0, 30)},
    "BFI10": {
        "extraversion": ({1}, 1, 5), "agreeableness": ({7}, 1, 5), "conscientiousness": ({3}, 1, 5),
        "neuroticism": ({4}, 1, 5), "openness": ({5}, 1, 5),
    },
    "PANAS": {"positive": (set(), 10, 50), "negative": (set(), 10, 50)},
    "SPANE": {"positive_feelings": (set(), 6, 30), "negative_feelings": (set(), 6, 30)},
}  # fmt: skip


def extremes(instrument, name):
    """Answers that give the lowest and the highest score of a scale, by the reversed items of the publication."""
    key = instrument.scale(name).key
    least, most = {}, {}
    for at, item in enumerate(instrument.items, 1):
        flip = at in PUBLISHED[instrument.name.upper()][name][0] and item.name in key
        least[item.name], most[item.name] = (item.high, item.low) if flip else (item.low, item.high)
    return [least, most]


@pytest.mark.parametrize(("instrument", "name"), [(one, name) for one, scales in PUBLISHED.items() for name in scales])
def test_the_published_key_gives_the_published_range(instrument, name):
    instrument = getattr(probes, instrument)
    _, low, high = PUBLISHED[instrument.name.upper()][name]
    assert instrument.score(extremes(instrument, name))[name].tolist() == [low, high]


def test_a_wrong_reverse_key_is_caught():
    scale = probes.CESD.scale("depression")
    wrong = dataclasses.replace(scale, key=dict(scale.key) | {"cesd16": 1, "cesd15": -1})
    broken = dataclasses.replace(probes.CESD, scales=[wrong])
    assert broken.score(extremes(probes.CESD, "depression"))["depression"].tolist() != [0, 60]


def test_a_person_by_hand():
    answers = dict.fromkeys(probes.CESD.item_names, 1) | {"cesd4": 3, "cesd12": 0, "cesd18": 3}
    # 15 items of 1, item 18 of 3, and reversed 4: 0, 8: 2, 12: 3, 16: 2
    assert probes.CESD.score(answers)["depression"].tolist() == [15 + 3 + 0 + 2 + 3 + 2]
    assert probes.CESD.scale("depression").cutoffs == {"depressed": 16}


def test_all_ways_to_give_answers_agree():
    rng = np.random.default_rng(1)
    table = rng.integers(0, 4, (7, 20))
    columns = dict(zip(probes.CESD.item_names, table.T, strict=True))
    wanted = probes.CESD.score(table)["depression"].tolist()
    labels = {item.name: [item.labels[value] for value in columns[item.name].tolist()] for item in probes.CESD.items}
    rows = [dict(zip(probes.CESD.item_names, row.tolist(), strict=True)) for row in table]
    for given in (columns, labels, rows, pd.DataFrame(columns).assign(age=3)):
        assert probes.CESD.score(given)["depression"].tolist() == wanted
    assert [probes.CESD.score(row)["depression"].item() for row in rows] == wanted


def test_what_is_left_out_counts_as_the_persons_mean_until_it_is_too_much():
    answers = np.full((3, 20), 2.0)
    answers[:, [3, 7, 11, 15]] = 1.0  # reversed: all keyed answers are 2
    answers[1, :4] = np.nan
    answers[2, :5] = np.nan
    assert np.array_equal(probes.CESD.score(answers)["depression"], [40.0, 40.0, np.nan], equal_nan=True)
    none = probes.NET_PROMOTER.score([None])["net_promoter"]
    assert math.isnan(none[0])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.full((2, 20), 4), r"item 'cesd1', person 0: 4.* numbers from 0 to 3"),
        (np.full((2, 20), 1.5), r"item 'cesd1', person 0: 1\.5"),
        (dict.fromkeys(probes.CESD.item_names, "often"), "'often' is no answer; they are rarely"),
        ({"cesd1": [1]}, "no column or answer for cesd2"),
        (np.zeros((2, 19)), r"shape \(2, 19\), and it has 20 items"),
    ],
)
def test_answers_that_cannot_be_are_named(given, said):
    with pytest.raises(ScenarioError, match=said):
        probes.CESD.score(given)


def test_attitudes():
    assert probes.NET_PROMOTER.score(np.array([[10], [9], [8], [6], [0]]))["net_promoter"].mean() == 0.0
    assert probes.NET_PROMOTER.score(np.arange(11)[:, None])["net_promoter"].tolist() == [-100] * 7 + [0, 0, 100, 100]
    assert probes.TRUST.score({"trust": ["most people can be trusted", "it depends"]})["trusting"].tolist() == [1, 0]
    warm = probes.feeling_thermometers(["Democrats", "Republicans"], gap=("Democrats", "Republicans"))
    assert warm.score({"Democrats": [80, 0], "Republicans": [30.5, 100]})["gap"].tolist() == [49.5, -100]
    assert probes.LIBERAL_CONSERVATIVE.score({"placement": ["Liberal"]})["conservative"].tolist() == [2]
    assert probes.SPANE.score(dict.fromkeys(probes.SPANE.item_names, 3))["balance"].tolist() == [0]


def test_a_likert_scale_of_ones_own():
    one = probes.likert("ease", {"a": "It is easy.", "b": "It is hard."}, points=7, reverse=["b"], how="sum")
    assert one.score({"a": ["strongly agree"], "b": ["strongly disagree"]})["ease"].tolist() == [14]
    with pytest.raises(ScenarioError, match="there is no such item"):
        probes.likert("ease", {"a": "It is easy."}, reverse=["b"])


@pytest.mark.parametrize("instrument", ALL, ids=lambda one: one.name)
def test_every_instrument_says_where_it_is_from_and_what_may_be_passed_on(instrument):
    assert instrument.source
    assert instrument.status
    worded = [item.text is not None for item in instrument.items]
    assert all(worded) or not any(worded)
    assert all(worded) == (instrument not in (probes.BFI10, probes.PANAS))


ALPHAS = {"agreeableness": 0.70, "conscientiousness": 0.73, "extraversion": 0.76, "neuroticism": 0.81, "openness": 0.60}
"""Of `bfi` in the R package psych by its keys, as its `alpha` gives them."""


def keyed_alphas(matrix, instrument=probes.IPIP25):
    signs = {scale.name: scale.key for scale in instrument.scales}
    return {
        name: round(
            probes.alpha_of_covariance(
                matrix.loc[list(key), list(key)].to_numpy() * np.outer(list(key.values()), list(key.values()))
            ),
            2,
        )
        for name, key in signs.items()
    }


def test_our_keys_give_the_published_alphas_of_bfi():
    matrix = pd.read_csv(Path(__file__).parent / "data" / "bfi_covariance.csv", index_col=0)
    assert keyed_alphas(matrix) == ALPHAS
    wrong = dataclasses.replace(probes.IPIP25.scale("openness"), key={f"O{at}": 1 for at in range(1, 6)})
    assert keyed_alphas(matrix, dataclasses.replace(probes.IPIP25, scales=[wrong])) != {"openness": ALPHAS["openness"]}


def test_alpha_against_its_definition_and_its_limits():
    rng = np.random.default_rng(2)
    table = rng.normal(size=(60, 4)) + rng.normal(size=(60, 1))
    k, total = 4, table.sum(axis=1)
    wanted = k / (k - 1) * (1 - table.var(axis=0, ddof=1).sum() / total.var(ddof=1))
    assert probes.cronbach_alpha(table) == pytest.approx(wanted)
    same = np.repeat(rng.normal(size=(30, 1)), 5, axis=1)
    assert probes.cronbach_alpha(same) == pytest.approx(1)
    with_holes = table.copy()
    with_holes[rng.random(table.shape) < 0.2] = np.nan
    assert np.allclose(probes.covariance(with_holes), pd.DataFrame(with_holes).cov().to_numpy())
    with pytest.raises(ScenarioError, match="two or more items"):
        probes.cronbach_alpha(table[:, :1])


def test_intraclass_correlations_of_shrout_and_fleiss():
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    found = [round(probes.intraclass(ratings, form), 2) for form in ("ICC(1,1)", "ICC(2,1)", "ICC(3,1)")]
    assert found == [0.17, 0.29, 0.71]  # their table 4


def test_retest_sees_a_shift_that_a_correlation_does_not():
    first = np.array([1.0, 2, 3, 4, 5, np.nan])
    found = probes.retest(first, first + 1)
    assert (found.n, round(found.r, 9), found.agreement, found.shift, found.mean_change) == (5, 1, 0, 1, 1)
    assert found.icc < 0.9
    assert probes.retest(first, first).icc == pytest.approx(1)


def test_response_styles():
    scale = probes.likert("s", {name: name for name in "abcd"}, reverse="cd")
    styles = probes.response_styles(scale, [[5, 5, 5, 5], [1, 5, 1, 5], [3, 3, 2, np.nan], [np.nan] * 4])
    assert np.array_equal(styles.longest_run, [4, 1, 2, np.nan], equal_nan=True)
    assert styles.straight_line.tolist() == [True, False, False, False]
    assert np.allclose(styles.acquiescence, [1, 0, -1 / 3, np.nan], equal_nan=True)
    assert np.allclose(styles.extreme, [1, 1, 0, np.nan], equal_nan=True)
    assert np.allclose(styles.middle, [0, 0, 2 / 3, np.nan], equal_nan=True)
    assert styles.spread[0] == 0 < styles.spread[2] < styles.spread[1]
    gap = probes.response_styles(scale, [[4, np.nan, 4, 2]])
    assert gap.longest_run.tolist() == [2]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"labels": {0: "a", 1: "a"}}, "labels that differ"),
        ({"labels": {0: "a", 1: ""}}, "labels that differ"),
        ({"low": 0.2, "high": 0.8, "whole": True}, "no two whole numbers"),
        ({"low": -1e308, "high": 1e308}, "goes from"),
    ],
)
def test_items_that_nobody_could_answer_are_refused(changed, said):
    item = probes.Item(**{"name": "one", "text": "How?", "low": 0, "high": 1, **changed})
    with pytest.raises(ScenarioError, match=said):
        probes.Instrument(name="odd", title="Odd", items=(item,), scales=(), source="", status="")
