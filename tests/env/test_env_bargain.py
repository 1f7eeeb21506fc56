"""Negotiations: offers, acceptance, deadlines, secrets; measures against brute force; under random acts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.env_support import acts, look, opened

from populace.core.errors import ScenarioError
from populace.env import Bargain, LookFailed
from populace.env.market.agreements import Issues, efficient, pareto_distance
from populace.env.market.bargain import Negotiation

ISSUES = {"price": ["low", "mid", "high"], "delivery": ["now", "later"]}
BUYER = {"price": {"low": 6.0, "mid": 3.0, "high": 0.0}, "delivery": {"now": 1.0, "later": 0.0}}
SELLER = {"price": {"low": 0.0, "mid": 3.0, "high": 6.0}, "delivery": {"now": 0.0, "later": 5.0}}
DEALS = [
    {"sides": [0, 1], "points": [BUYER, SELLER], "walk_away": [2.0, 1.0]},
    {"sides": [2, 0], "points": [SELLER, BUYER]},
]
TERMS = st.fixed_dictionaries({"price": st.sampled_from(["low", "high", "huge"]), "delivery": st.just("now")})
ACTIONS = st.one_of(
    st.tuples(st.just("offer"), st.fixed_dictionaries({"deal": st.integers(0, 2), "terms": TERMS})),
    st.tuples(st.just("accept"), st.fixed_dictionaries({"deal": st.integers(0, 2), "offer": st.integers(0, 6)})),
    st.tuples(st.just("walk"), st.fixed_dictionaries({"deal": st.integers(0, 2)})),
)
TICKS = st.lists(st.lists(st.tuples(st.integers(0, 3), ACTIONS), max_size=6), max_size=5)


def made(**given):
    return Bargain(ISSUES, **({"negotiations": DEALS, "keep": 4} | given))


def offer(agent, price="mid", delivery="now", deal=0, **more):
    return agent, "bargain.offer", {"deal": deal, "terms": {"price": price, "delivery": delivery}} | more


@settings(max_examples=50, deadline=None)
@given(TICKS, st.integers(0, 3))
def test_a_deal_ends_once_and_comes_back_from_a_checkpoint(ticks, deadline):
    world, again = (opened(4, made(deadline_ticks=deadline)) for _ in range(2))
    world.digests()
    endings = []
    for tick in ticks:
        done = world.resolve(acts(*((agent, f"bargain.{kind}", args) for agent, (kind, args) in tick)))
        endings += [(agent, body["deal"]) for agent, body in done.emissions if "ended" in body]
        again.restore(world.state())
        assert again.digests() == world.digests()
        for agent in range(3):
            assert look(again, "bargain.deals_of", agent) == look(world, "bargain.deals_of", agent)
    assert len({*endings}) == len(endings)
    deals = world.bargain.deals
    assert sorted(endings) == sorted(
        (deals.get(name, deal), deal) for deal in (0, 1) if deals.get("status", deal) for name in ("first", "second")
    )
    assert (deals.column("agreed") >= 0).tolist() == (deals.column("status") == 1).tolist()


def test_offers_are_told_and_accepted_by_number():
    world = opened(3, made())
    said = world.resolve(acts(offer(0, "low", text="My best."))).emissions
    assert said == [(1, {"deal": 0, "offer": 0, "terms": {"price": "low", "delivery": "now"}, "text": "My best."})]
    seen = look(world, "bargain.deals_of", 1)[0]
    assert (seen["with"], seen["points"], seen["walk_away"], seen["ticks_left"]) == (0, SELLER, 1.0, None)
    assert seen["offer"]["worth"] == 0.0
    world.resolve(acts(offer(0, "mid")))
    late = acts((1, "bargain.accept", {"deal": 0, "offer": 0}), (0, "bargain.accept", {"deal": 0, "offer": 1}))
    assert [reason for _, reason in world.resolve(late).refused] == ["superseded", "not_yours"]
    ended = world.resolve(acts((1, "bargain.accept", {"deal": 0, "offer": 1}))).emissions
    terms = {"price": "mid", "delivery": "now"}
    assert ended == [
        (0, {"deal": 0, "ended": "agreed", "terms": terms, "worth": 4.0}),
        (1, {"deal": 0, "ended": "agreed", "terms": terms, "worth": 3.0}),
    ]
    assert [one["own"] for one in look(world, "bargain.history", 0, deal=0)] == [True, True]
    after = acts(offer(0))
    assert world.resolve(after).refused == [(after[0], "closed")]
    assert world.observe([0])[0]["bargain.open"] == 1


def test_nobody_sees_the_points_of_the_other_side():
    world = opened(3, made())
    shown = str(look(world, "bargain.deals_of", 0)) + str(world.observe([0]))
    assert str(BUYER["delivery"]) in shown
    assert str(SELLER["delivery"]) not in shown
    assert look(world, "bargain.worth", 1, deal=0, terms={"price": "high", "delivery": "later"}) == 11.0
    assert isinstance(look(world, "bargain.worth", 2, deal=0, terms={"price": "low", "delivery": "now"}), LookFailed)


def test_the_deadline_and_walking_away_leave_what_it_is_worth_not_to_agree():
    world = opened(3, made(deadline_ticks=2))
    world.resolve(acts((2, "bargain.walk", {"deal": 1})))
    assert look(world, "bargain.deals_of", 1)[0]["ticks_left"] == 1
    said = world.resolve([]).emissions
    assert [(agent, body["ended"], body["worth"]) for agent, body in said] == [
        (0, "deadline", 2.0),
        (1, "deadline", 1.0),
    ]
    assert world.bargain.utilities(np.array([0, 1])).tolist() == [[2.0, 1.0], [0.0, 0.0]]
    assert world.bargain.measures()["agreement_rate"] == 0.0


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (offer(2), "not_yours"),
        (offer(0, "huge"), "bad_terms"),
        (offer(0, deal=9), "unknown_deal"),
        (offer(0, tip=1), "bad_arguments"),
        ((0, "bargain.offer", {"deal": 0, "terms": ["low"]}), "bad_terms"),
        ((0, "bargain.offer", {"deal": 0}), "bad_arguments"),
        ((0, "bargain.accept", {"deal": 0, "offer": 5}), "unknown_offer"),
        ((0, "bargain.accept", {"deal": 0}), "bad_arguments"),
        ((0, "bargain.walk", {}), "bad_arguments"),
        ((2, "bargain.walk", {"deal": 0}), "not_yours"),
    ],
)
def test_what_cannot_be_is_refused(act, reason):
    world = opened(3, made())
    before = world.bargain.digest()
    acted = acts(act)
    assert world.resolve(acted).refused == [(acted[0], reason)]
    assert world.bargain.digest() == before


def test_measures_are_those_of_brute_force():
    world = opened(3, made())
    world.resolve(acts(offer(0, "mid"), (1, "bargain.accept", {"deal": 0, "offer": 0})))
    found = world.bargain.measures()
    # All agreements: (6+1, 0) (6, 5) (3+1, 3) (3, 8) (1, 6) (0, 11); (4, 3) is dominated by (6, 5).
    assert found["pareto_distance"] == pytest.approx(np.hypot(2, 2))
    assert (found["joint_utility"], found["agreement_rate"], found["offers"]) == (7.0, 1.0, 1.0)
    assert found["joint_share"] == pytest.approx(7 / 11)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_efficient_rows_are_those_that_nothing_dominates(rows):
    worth = np.array(rows, float)
    plain = [
        not any((other >= one).all() and (other > one).any() for other in worth) for one in worth
    ]  # fmt: skip
    assert efficient(worth).tolist() == plain
    assert pareto_distance(worth[int(np.argmax(plain))], worth) == 0.0


def test_terms_have_numbers():
    issues = Issues(ISSUES)
    assert [issues.code(issues.terms(code)) for code in range(6)] == list(range(6))
    points = np.array([[*BUYER["price"].values(), *BUYER["delivery"].values()]])
    assert issues.every(np.repeat(points, 2, axis=0))[:, 0].tolist() == [7.0, 6.0, 4.0, 3.0, 1.0, 0.0]


def test_memory_is_bounded_and_who_leaves_walks_away():
    world = opened(4, made(keep=2))
    for _ in range(5):
        world.bargain.begin(world.tick, Negotiation(sides=(2, 3), points=(BUYER, SELLER)))
        world.resolve(acts(offer(2, deal=world.bargain.deals.count - 1)))
        world.digests()
    bargain = world.bargain
    assert (len(bargain.points), sum(map(len, bargain._open.values()))) == (2, 4)
    assert len(bargain.offers.column("tick")) == 2
    bargain.shrink(np.array([2], np.int32))
    assert bargain._open == {}


def test_bad_settings_and_states():
    with pytest.raises(ScenarioError, match="no name twice"):
        Bargain({"price": ["low", "low"]})
    with pytest.raises(ScenarioError, match="agreements are possible"):
        Bargain({str(at): ["a", "b"] for at in range(18)})
    with pytest.raises(ScenarioError, match="deadline_ticks is 0 or more"):
        made(deadline_ticks=-1)
    with pytest.raises(ScenarioError, match="2 negotiations are there from the start"):
        made(keep=1)
    for change, said in (
        ({"sides": [1, 1]}, "negotiation 0: sides are two different agents from 0 to 2"),
        ({"sides": [0, 9]}, "from 0 to 2"),
        ({"points": [BUYER, {"price": {}}]}, "points are by issue and option"),
        ({"walk_away": [float("nan"), 0.0]}, "finite"),
        ({"colour": 1}, "unknown field"),
    ):
        with pytest.raises(ScenarioError, match=said):
            opened(3, made(negotiations=[DEALS[0] | change]))
    with pytest.raises(ScenarioError, match="other issues"):
        opened(3, Bargain({"price": ["low", "high"]})).restore(opened(3, made()).state())
    world = opened(3, made())
    for name, args in (("deals_of", {"of": 1}), ("history", {"deal": 0, "n": 0}), ("worth", {"deal": 0, "terms": {}})):
        assert isinstance(look(world, f"bargain.{name}", **args), LookFailed)
