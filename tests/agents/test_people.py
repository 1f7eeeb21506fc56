"""Where people come from: weights, margins, fitted distributions, households, firms, personas, summaries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from populace import Distributions, Persona, Population, assign_employers, rake, read_table, sample_households
from populace.core.draws import Stream
from populace.core.errors import ScenarioError


def draw(purpose="test", seed=1):
    return Stream(seed, -1, 0, purpose)


def test_a_weighted_sample_has_the_weighted_shares_and_ignored_weights_are_seen():
    table = {"kind": ["a", "b", "c"], "w": [1.0, 3.0, 0.0]}
    people = Population.sample(table, 2000, draw(), weights="w")
    assert people.summary(table, weights="w").off == []
    assert people.summary(table).off == ["kind"]  # the control: against equal weights it is off
    assert "c" not in people["kind"]
    assert "w" not in people.columns
    unweighted = Population.sample({"kind": table["kind"]}, 2000, draw())
    assert unweighted.summary(table, weights="w").off == ["kind"]


def test_a_sample_without_weights_draws_as_before():
    table = {"n": list(range(10))}
    stream = draw()
    assert Population.sample(table, 20, draw())["n"] == [stream.integer(10) for _ in range(20)]


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, math.inf], "no", ["a", "b"]])
def test_weights_that_cannot_be(weights):
    with pytest.raises(ScenarioError, match="weights"):
        Population.sample({"n": [1, 2]}, 3, draw(), weights=weights)


shares = st.floats(0.05, 0.95)


@settings(max_examples=25, deadline=None)
@given(row=shares, column=shares, seed=st.lists(st.floats(0.1, 10), min_size=4, max_size=4))
def test_a_two_by_two_table_against_its_closed_form(row, column, seed):
    """With the odds ratio kept, the corner p solves p (1 - r - c + p) = odds (r - p) (c - p)."""
    table = {"r": ["a", "a", "b", "b"], "c": ["x", "y", "x", "y"], "w": seed}
    margins = {"r": {"a": row, "b": 1 - row}, "c": {"x": column, "y": 1 - column}}
    found = rake(margins, table, weights="w", tolerance=1e-12)
    odds = seed[0] * seed[3] / (seed[1] * seed[2])
    a, b, c = 1 - odds, 1 - row - column + odds * (row + column), -odds * row * column
    roots = [-c / b] if abs(a) < 1e-12 else np.roots([a, b, c])
    (corner,) = [p.real for p in roots if max(0, row + column - 1) - 1e-9 <= p.real <= min(row, column) + 1e-9][:1]
    assert found.weights[0] / 4 == pytest.approx(corner, abs=1e-8)
    assert found.converged


def test_three_columns_against_the_least_divergence():
    """The plain way: the shares of least Kullback-Leibler divergence with these margins, by a general optimizer."""
    rng = np.random.default_rng(3)
    cells = [(a, b, c) for a in "xy" for b in "pqr" for c in (0, 1)]
    table = {name: [cell[at] for cell in cells] for at, name in enumerate("abc")}
    start = rng.uniform(0.5, 2, len(cells))
    margins = {
        ("a", "b"): dict(zip([(a, b) for a in "xy" for b in "pqr"], (0.1, 0.2, 0.1, 0.25, 0.15, 0.2), strict=True)),
        "c": {0: 0.3, 1: 0.7},
    }
    found = rake(margins, table, weights=start).weights / len(cells)
    q = start / start.sum()
    held = [np.array([(cell[0], cell[1]) == key for cell in cells], float) for key in margins[("a", "b")]]
    wanted = [*margins[("a", "b")].values(), 0.3]
    held.append(np.array([cell[2] == 0 for cell in cells], float))
    least = minimize(
        lambda p: float(np.sum(p * np.log(p / q))), np.full(len(cells), 1 / 12), jac=lambda p: np.log(p / q) + 1,
        bounds=[(1e-9, 1)] * len(cells), method="SLSQP", options={"ftol": 1e-13, "maxiter": 500},
        constraints={"type": "eq", "fun": lambda p: np.array(held) @ p - wanted, "jac": lambda p: np.array(held)},
    )  # fmt: skip
    assert np.allclose(found, least.x, atol=1e-5)


def test_margins_without_a_table_are_independent():
    found = rake({"sex": {"f": 51, "m": 49}, "age": {"young": 40, "old": 60}})
    assert dict(zip(zip(found.table["sex"], found.table["age"], strict=True), found.weights / 4, strict=True)) == (
        pytest.approx({("f", "young"): 0.204, ("f", "old"): 0.306, ("m", "young"): 0.196, ("m", "old"): 0.294})
    )
    pairs = {("young", "yes"): 0.4, ("old", "yes"): 0.5, ("old", "no"): 0.1}
    joint = rake({("age", "job"): pairs, "sex": {"f": 0.5, "m": 0.5}}).table
    assert set(zip(joint["age"], joint["job"], joint["sex"], strict=True)) == {
        (*pair, sex) for pair in pairs for sex in "fm"
    }
    people = Population.sample(found.table, 1000, draw(), weights=found.weights)
    assert people.summary(found.table, weights=found.weights).off == []


def test_margins_that_cannot_be_are_reported():
    table = {"sex": ["f", "f", "m"], "job": ["yes", "no", "no"]}
    with pytest.raises(ScenarioError, match=r"adds up to 0\.9, and job to 1"):
        rake({"sex": {"f": 0.5, "m": 0.4}, "job": {"yes": 0.5, "no": 0.5}}, table)
    with pytest.raises(ScenarioError, match=r"0\.2 of 'x', and no row"):
        rake({"sex": {"f": 0.5, "m": 0.3, "x": 0.2}}, table)
    with pytest.raises(ScenarioError, match="has 'm' in sex, which the margin does not name"):
        rake({"sex": {"f": 1.0}}, table)
    with pytest.raises(ScenarioError, match=r"sex: the margin sex asks for 0\.5 of 'f', and sex x job for 0\.8"):
        rake(
            {"sex": {"f": 0.5, "m": 0.5}, ("sex", "job"): {("f", "yes"): 0.4, ("f", "no"): 0.4, ("m", "no"): 0.2}},
            table,
        )
    # each margin can be had, both together cannot: more have a job than are women, and no man of the table has one
    margins = {"sex": {"f": 0.3, "m": 0.7}, "job": {"yes": 0.6, "no": 0.4}}
    with pytest.raises(ScenarioError, match="after 50 rounds a share is"):
        rake(margins, table, rounds=50)
    found = rake(margins, table, rounds=50, strict=False)
    assert not found.converged
    assert found.error > 0.1
    assert len(found.problems) == 1


def test_raked_real_voters_have_the_margins_and_a_design_effect():
    table = read_table("anes96", ["PID", "educ", "age"])
    table["older"] = [age >= 45 for age in table["age"]]
    margins = {"older": {True: 0.35, False: 0.65}, "PID": dict.fromkeys(range(7), 1 / 7)}
    found = rake(margins, table)
    older = np.array(found.table["older"])
    assert found.weights[older].sum() / found.weights.sum() == pytest.approx(0.35)
    assert 1 < found.design_effect < 2


def test_fitted_distributions_keep_margins_and_correlation_and_independence_is_seen():
    rng = np.random.default_rng(4)
    z = rng.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], 3000)
    table = {
        "income": np.exp(10 + 0.6 * z[:, 0]), "age": np.rint(45 + 12 * z[:, 1]).astype(int),
        "vote": np.where(z[:, 1] > 0.3, "left", "right"),
    }  # fmt: skip
    fit = Distributions.fit(table, kinds={"income": "lognormal"})
    assert fit.columns["income"].parameters == pytest.approx((10, 0.6), abs=0.05)
    assert fit.columns["income"].distance < 0.03
    assert Distributions.fit({"x": table["income"]}, kinds={"x": "normal"}).columns["x"].distance > 0.08
    people = fit.sample(1500, draw())
    assert people.summary({name: table[name].tolist() for name in table}).off == []
    assert isinstance(people["age"][0], int)
    kept = np.corrcoef(np.log(people["income"]), people["age"])[0, 1]
    assert kept == pytest.approx(0.7, abs=0.05)
    apart = Distributions(fit.columns, np.eye(3)).sample(1500, draw())
    assert abs(np.corrcoef(np.log(apart["income"]), apart["age"])[0, 1]) < 0.1


def test_a_gamma_is_fitted_by_maximum_likelihood_with_weights():
    from scipy import stats

    rng = np.random.default_rng(5)
    values = rng.gamma(2.5, 300, 400)
    shape, _, scale = stats.gamma.fit(values, floc=0)
    assert Distributions.fit({"x": values}, kinds={"x": "gamma"}).columns["x"].parameters == pytest.approx(
        (shape, scale), rel=1e-4
    )
    doubled = Distributions.fit({"x": values, "w": [2.0] * 200 + [1.0] * 200}, kinds={"x": "gamma"}, weights="w")
    shape, _, scale = stats.gamma.fit(np.concatenate([values, values[:200]]), floc=0)
    assert doubled.columns["x"].parameters == pytest.approx((shape, scale), rel=1e-4)


@pytest.mark.parametrize(
    ("table", "kinds", "said"),
    [
        ({"x": [1.0, None]}, {}, "'x' has missing values"),
        ({"x": ["a", "b"]}, {"x": "normal"}, "'values' only"),
        ({"x": [0.0, 1.0]}, {"x": "lognormal"}, "above 0 only"),
        ({"x": [0.0, 1.0]}, {"y": "normal"}, "kinds has 'y'"),
    ],
)
def test_what_cannot_be_fitted_is_named(table, kinds, said):
    with pytest.raises(ScenarioError, match=said):
        Distributions.fit(table, kinds=kinds)


HOMES = {
    "home": [1, 1, 2, 3, 3, 3], "rooms": [2, 2, 1, 4, 4, 4], "age": [40, 41, 80, 30, 31, 2],
    "w": [1.0, 1.0, 2.0, 1.0, 1.0, 1.0],
}  # fmt: skip


def test_households_are_drawn_whole_and_their_ids_fit():
    found = sample_households(
        HOMES, "home", 50, draw(), persons=100, weights="w", shared=["rooms"], first_household=7, first_person=57
    )
    homes, persons = found.households, found.persons
    assert (homes.size, persons.size) == (50, 100)
    assert [one for members in homes["members"] for one in members] == list(range(57, 157))
    ages = {2: [40, 41], 1: [80], 4: [30, 31, 2]}
    for at, (members, rooms) in enumerate(zip(homes["members"], homes["rooms"], strict=True)):
        assert [persons["age"][one - 57] for one in members] == ages[rooms]
        assert {persons["household"][one - 57] for one in members} == {7 + at}
    assert "home" not in persons.columns


def test_households_are_drawn_by_their_weights():
    rooms = sample_households(HOMES, "home", 2000, draw(), weights="w", shared="rooms").households
    source = {"rooms": [2, 1, 4], "w": [1.0, 2.0, 1.0]}
    assert rooms.summary(source, weights="w").off == []
    assert rooms.summary({"rooms": [2, 1, 4]}).off == ["rooms"]


def test_households_that_cannot_be():
    with pytest.raises(ScenarioError, match="it can be 5 to 15"):
        sample_households(HOMES, "home", 5, draw(), persons=16)
    with pytest.raises(ScenarioError, match="'age' is not of one value in household 1"):
        sample_households(HOMES, "home", 5, draw(), shared="age")
    with pytest.raises(ScenarioError, match="no column 'house'"):
        sample_households(HOMES, "house", 5, draw())


def test_every_worker_has_one_employer_and_firms_have_their_sizes():
    employer, staff = assign_employers(range(100, 200), [3, 4, 5], draw(), sizes=[1, 1, 2])
    assert {firm: len(mine) for firm, mine in staff.items()} == {3: 25, 4: 25, 5: 50}
    assert sorted(one for mine in staff.values() for one in mine) == list(range(100, 200))
    assert all(worker in staff[firm] for worker, firm in employer.items())
    sizes = sorted(len(mine) for mine in assign_employers(range(1000), range(50), draw())[1].values())
    assert sum(sizes) == 1000
    assert sizes[-1] == pytest.approx(1000 / sum(1 / rank for rank in range(1, 51)), abs=1)  # Zipf's largest


def test_no_firm_is_favoured_by_its_id():
    first = [len(assign_employers(range(30), range(4), draw(seed=seed))[1][0]) for seed in range(200)]
    assert np.mean(first) == pytest.approx(30 / 4, abs=1.3)


def test_a_persona_says_what_its_row_says_and_no_more():
    row = {"age": 34.0, "party": 0, "income": None, "TVnews": 3.0}
    labels = {"party": {0: "a strong Democrat"}}
    texts = {
        depth: Persona(depth, labels=labels, more={"TVnews": "You watch TV news {} days a week."})(row)
        for depth in ("demographics", "short", "backstory")
    }
    assert texts["demographics"] == "age: 34\nparty: a strong Democrat\nTVnews: 3"
    assert texts["short"] == (
        "You are 34 years old. You think of yourself as a strong Democrat. You watch TV news 3 days a week."
    )
    assert texts["backstory"].startswith("Who I am. I am 34 years old.\n\nWhat I hold.")
    assert all("income" not in text.lower() for text in texts.values())
    assert Persona()({"age": 3}) == Persona()({"age": 3})
    assert Persona(columns={"party": "PID"})({"PID": "Green", "age": 3}) == "You think of yourself as Green."


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Persona("deep"), "no depth 'deep'"),
        (lambda: Persona(columns={"hobby": "x"}), "'hobby'"),
        (lambda: Persona(columns={"age": "years"})({"age": 3}), "no column 'years'"),
        (lambda: Persona(labels={"party": {}})({"party": 1}), "no word for 1"),
    ],
)
def test_personas_that_cannot_be(make, said):
    with pytest.raises(ScenarioError, match=said):
        make()


def test_a_summary_prints_plots_and_sees_what_is_off():
    table = read_table("anes96", ["age", "vote", "PID"])
    people = Population.sample(table, 500, draw())
    summary = people.summary(table)
    assert summary.off == []
    assert str(summary).splitlines()[0] == "500 agents, drawn from 944 rows (agents | source)"
    assert summary.columns["vote"].there[1.0] == pytest.approx(np.mean(table["vote"]))
    assert summary.columns["age"].what == "numbers"
    assert len(summary.plot().axes) == 3
    old = people.rows([at for at, age in enumerate(people["age"]) if age > 40])
    assert "age" in old.summary(table).off
    with pytest.raises(ScenarioError, match="no column of the population"):
        people.summary({"x": [1]})


def test_rare_values_alone_do_not_put_a_column_off():
    table = {"kind": ["a", "b", *(f"rare{at}" for at in range(40))], "w": [4000.0, 6000.0, *[1.0] * 40]}
    off = [
        bool(Population.sample(table, 300, draw(seed=seed), weights="w").summary(table, weights="w").off)
        for seed in range(40)
    ]
    assert sum(off) <= 3
    foreign = Population({"kind": ["a"] * 120 + ["b"] * 179 + ["none of them"]})
    assert foreign.summary(table, weights="w").off == ["kind"]


def test_a_faithful_sample_is_called_off_rarely():
    table = read_table("anes96", ["age", "vote", "PID", "educ"])
    off = [bool(Population.sample(table, 200, draw(seed=seed)).summary(table).off) for seed in range(60)]
    assert sum(off) <= 4
