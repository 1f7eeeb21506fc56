"""The directory: search, first-come stock, proposals that take time, money that is conserved; under random acts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.env_support import acts, look, opened

from populace.core.errors import ScenarioError
from populace.env import Directory, LookFailed
from populace.env.market.ranking import Words

AGENTS = 4
ITEMS, ATTRIBUTES = ["soup", "rice", "tea"], ["wifi", "patio"]
START = {
    0: [
        {"name": "Lotus", "prices": {"soup": 300, "tea": 100}, "stock": {"soup": 2, "tea": 1}, "attributes": ["wifi"]},
        {"name": "Annex", "prices": {"rice": 250}, "delay": 1.5},
    ],
    1: [
        {"name": "Sham", "prices": {"soup": 200}, "quality": 0.1, "claimed_quality": 0.9,
         "claimed_attributes": ["wifi"]}
    ],
}  # fmt: skip
AGENT, LISTING = st.integers(0, AGENTS - 1), st.integers(0, 4)
BASKET = st.lists(st.sampled_from([*ITEMS, "gold"]), max_size=3)
ACTIONS = st.one_of(
    st.tuples(st.just("buy"), st.fixed_dictionaries({"listing": LISTING, "items": BASKET})),
    st.tuples(
        st.just("propose"),
        st.fixed_dictionaries(
            {"to": st.integers(0, 5), "listing": LISTING, "items": BASKET, "price_cents": st.integers(-1, 400)}
        ),
    ),
    st.tuples(st.sampled_from(["accept", "decline"]), st.fixed_dictionaries({"proposal": st.integers(0, 9)})),
    st.tuples(st.just("pay"), st.fixed_dictionaries({"to": st.integers(0, 5), "cents": st.integers(-1, 700)})),
    st.tuples(st.just("register"), st.fixed_dictionaries({"prices": st.dictionaries(st.sampled_from(ITEMS), LISTING)})),
    st.tuples(
        st.just("restock"),
        st.fixed_dictionaries({"listing": LISTING, "stock": st.dictionaries(st.sampled_from(ITEMS), LISTING)}),
    ),
    st.tuples(
        st.just("reprice"),
        st.fixed_dictionaries({"listing": LISTING, "prices": st.dictionaries(st.sampled_from(ITEMS), LISTING)}),
    ),
    st.tuples(st.just("withdraw"), st.fixed_dictionaries({"listing": LISTING})),
)
TICKS = st.lists(st.lists(st.tuples(AGENT, ACTIONS), max_size=10), max_size=6)


def made(**given):
    return Directory(ITEMS, ATTRIBUTES, **({"listings": START, "cents": 600, "capacity": 5, "keep": 6} | given))


def resolve(world, tick):
    return world.resolve(acts(*((agent, f"directory.{kind}", args) for agent, (kind, args) in tick)))


def check(world, units):
    directory = world.directory
    assert directory.ledger.cents.sum() == 600 * AGENTS
    assert directory.ledger.cents.min() >= 0
    listings = directory.listings
    assert listings.stock.min() >= 0
    assert listings.stock[0].sum() == units
    sales = directory.sales
    assert sales.count == listings.column("sold").sum()
    if sales.count <= sales.keep:
        assert sales.column("price_cents").sum() == directory.turnover_cents


@settings(max_examples=30, deadline=None)
@given(TICKS, st.sampled_from(["perfect", "lexical", "random"]), st.integers(0, 2))
def test_money_is_conserved_and_stock_never_negative(ticks, ranking, valid_ticks):
    world, again = (opened(AGENTS, made(ranking=ranking, valid_ticks=valid_ticks)) for _ in range(2))
    world.digests()
    units = 3
    for at, tick in enumerate(ticks):
        done = resolve(world, tick)
        refused = {(one.agent, one.nth) for one, _ in done.refused}
        for one in acts(*((agent, kind, args) for agent, (kind, args) in tick)):
            if one.kind == "restock" and one.args["listing"] == 0 and (one.agent, one.nth) not in refused:
                units += sum(one.args["stock"].values())
        units -= sum(len(body["items"]) for _, body in done.emissions if body.get("sold") == 0)
        check(world, units)
        if at % 2:
            world.digests()
        again.restore(world.state())
        assert again.digests() == world.digests()
        for query, args in (("search", {"items": ["soup"], "attributes": ["wifi"]}), ("own", {}), ("proposals_to", {})):
            for agent in range(AGENTS):
                assert look(again, f"directory.{query}", agent, **args) == look(
                    world, f"directory.{query}", agent, **args
                )
    for tick in ticks:
        one, other = resolve(world, tick), resolve(again, tick)
        assert (one.refused, one.emissions) == (other.refused, other.emissions)
    assert again.digests() == world.digests()


def test_the_check_can_fail():
    world = opened(AGENTS, made())
    world.directory.ledger.cents[1] -= 1
    with pytest.raises(AssertionError):
        check(world, 3)


def buy(agent, listing=0, items=("tea",)):
    return agent, "directory.buy", {"listing": listing, "items": list(items)}


def test_the_last_unit_goes_to_who_acts_first():
    world = opened(AGENTS, made())
    acted = acts(buy(3), buy(1), buy(2, items=("tea", "tea")), buy(2, items=("soup", "soup")))
    done = world.resolve(acted)
    assert done.refused == [(acted[1], "sold_out"), (acted[2], "sold_out")]
    truth = {"bought": 0, "items": ["tea"], "price_cents": 100, "quality": 1.0, "attributes": ["wifi"]}
    assert done.emissions[:2] == [
        (3, truth), (0, {"sold": 0, "items": ["tea"], "price_cents": 100, "buyer": 3})
    ]  # fmt: skip
    assert world.directory.ledger.cents.tolist() == [1300, 600, 0, 500]
    assert look(world, "directory.own")[0]["stock"] == {"soup": 0, "tea": 0}
    assert look(world, "directory.listing", listing=0)["sold_out"]


def propose(seller, to, listing, cents=100, items=("rice",), **more):
    args = {"to": to, "listing": listing, "items": list(items), "price_cents": cents} | more
    return seller, "directory.propose", args


def test_proposals_arrive_after_their_delay_and_in_the_order_of_their_times():
    listings = {seller: [{"prices": {"rice": 9}, "delay": delay}] for seller, delay in enumerate((2.0, 1.5, 1.25))}
    world = opened(AGENTS, made(listings=listings))
    world.resolve(acts(*(propose(seller, 3, seller) for seller in range(3))))
    assert look(world, "directory.proposals_to", 3) == []
    early = acts((3, "directory.accept", {"proposal": 1}))
    assert world.resolve(early).refused == [(early[0], "unknown_proposal")]
    assert [one["seller"] for one in look(world, "directory.proposals_to", 3)] == [2, 1]
    arrived = world.resolve([]).emissions
    assert [(agent, body["seller"], body["price_cents"]) for agent, body in arrived] == [(3, 0, 100)]
    world.resolve(acts((3, "directory.accept", {"proposal": 1}), (3, "directory.decline", {"proposal": 2})))
    assert world.directory.sales.of(0)["rank"] == 1
    assert [one["seller"] for one in look(world, "directory.proposals_to", 3)] == [0]
    for args, said in (({"proposal": 1}, "closed"), ({"proposal": 9}, "unknown_proposal"), ({}, "bad_arguments")):
        acted = acts((3, "directory.accept", args))
        assert world.resolve(acted).refused == [(acted[0], said)]
    acted = acts((2, "directory.accept", {"proposal": 0}))
    assert world.resolve(acted).refused == [(acted[0], "not_yours")]


def test_who_is_first_at_one_time_is_drawn_and_favours_no_id():
    listings = {seller: [{"prices": {"rice": 9}}] for seller in range(3)}
    firsts = np.zeros(3, int)
    for seed in range(150):
        world = opened(AGENTS, made(listings=listings), seed=seed)
        world.resolve(acts(*(propose(seller, 3, seller) for seller in range(3))))
        firsts[look(world, "directory.proposals_to", 3)[0]["seller"]] += 1
    assert ((firsts - 50) ** 2 / 50).sum() < 13.8, firsts  # chi-squared of 2 degrees of freedom: p = 0.001


def test_an_old_proposal_expires():
    world = opened(AGENTS, made(valid_ticks=2))
    world.resolve(acts(propose(1, 3, 2, items=("soup",))))
    world.resolve([])
    assert len(look(world, "directory.proposals_to", 3)) == 1
    world.resolve([])
    assert look(world, "directory.proposals_to", 3) == []
    acted = acts((3, "directory.accept", {"proposal": 0}))
    assert world.resolve(acted).refused == [(acted[0], "expired")]


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (buy(2, 9), "unknown_listing"),
        (buy(2, 0, ("rice",)), "not_on_menu"),
        (buy(2, 0, ("gold",)), "bad_arguments"),
        (buy(2, 0, ()), "bad_arguments"),
        (buy(2, 2, ("soup",) * 4), "no_cash"),
        (propose(2, 3, 0), "not_yours"),
        (propose(0, 7, 1), "unknown_agent"),
        (propose(0, 3, 0), "not_on_menu"),
        (propose(0, 3, 1, -1), "bad_arguments"),
        (propose(0, 3, 1, 1.5), "bad_arguments"),
        (propose(0, 3, 1, tip=2), "bad_arguments"),
        ((2, "directory.pay", {"to": 1, "cents": 601}), "no_cash"),
        ((2, "directory.pay", {"to": 4, "cents": 1}), "unknown_agent"),
        ((2, "directory.pay", {"to": 1, "cents": 0.5}), "bad_arguments"),
        ((2, "directory.withdraw", {"listing": 0}), "not_yours"),
        ((0, "directory.withdraw", {}), "bad_arguments"),
        ((0, "directory.reprice", {"listing": 0, "prices": {"gold": 1}}), "bad_arguments"),
        ((0, "directory.reprice", {"listing": 0, "prices": {"tea": -1}}), "bad_arguments"),
        ((0, "directory.restock", {"listing": 0, "stock": {"tea": 2**31 - 2}}), "bad_arguments"),
        ((0, "directory.register", {"prices": {}}), "bad_arguments"),
        ((0, "directory.register", {"prices": {"tea": 1}, "colour": "red"}), "bad_arguments"),
        ((0, "directory.register", {"prices": {"tea": 1}, "quality": 2.0}), "bad_arguments"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(act, reason):
    world = opened(AGENTS, made())
    before = world.directory.digest()
    acted = acts(act)
    assert world.resolve(acted).refused == [(acted[0], reason)]
    assert world.directory.digest() == before


def names(world, agent=3, **query):
    return [one["name"] for one in look(world, "directory.search", agent, **query)]


def test_perfect_search_knows_the_truth_and_lexical_the_words():
    world = opened(AGENTS, made())
    asked = {"items": ["soup"], "attributes": ["wifi"], "value_cents": 1000}
    assert names(world, **asked) == ["Lotus", "Sham", "Annex"]
    assert names(world, items=["soup"], n=1, page=1) == ["Sham"]
    world.directory.set_parameter("ranking", "lexical")
    assert names(world, text="the annex", n=1) == ["Annex"]
    assert names(world, text="no such word", items=["rice"], n=1) == ["Annex"]
    shown = look(world, "directory.search", text="sham", n=1)[0]
    assert (shown["claimed_quality"], shown["attributes"]) == (0.9, ["wifi"])
    assert "quality" not in shown
    world.resolve(acts((1, "directory.register", {"prices": {"rice": 5}, "name": "Annex Annex"})))
    assert names(world, text="annex", n=1) == ["Annex Annex"]
    world.resolve(acts((1, "directory.withdraw", {"listing": 3})))
    assert names(world, text="annex", n=1) == ["Annex"]


def test_a_random_search_favours_no_listing():
    world = opened(AGENTS, made(ranking="random"))
    first = np.zeros(3, int)
    for _ in range(75):
        for agent in (2, 3):
            first[look(world, "directory.search", agent, n=1)[0]["listing"]] += 1
        world.resolve([])
    assert ((first - 50) ** 2 / 50).sum() < 13.8, first


def test_scores_of_words_are_okapi_bm25():
    words = Words()
    for text in ("green tea tea", "black tea", "soup"):
        words.add(text)
    rare, length = np.log(1 + (3 - 2 + 0.5) / 2.5), np.array([3, 2]) / 2
    expected = [
        rare * often * 2.2 / (often + 1.2 * (0.25 + 0.75 * at)) for often, at in zip((2, 1), length, strict=True)
    ]
    assert words.scores("Tea?") == pytest.approx([*expected, 0.0])


def test_newborns_have_accounts_and_who_leaves_sells_nothing_more():
    world = opened(2, made())
    world.digests()
    world.agents = 3
    world.directory.grow(np.array([2], np.int32))
    world.directory.shrink(np.array([0], np.int32))
    assert names(world, 2) == ["Sham"]
    again = opened(3, made(cents=[600, 600, 0]))
    again.directory.restore(world.directory.state())
    assert again.directory.digest() == world.directory.digest()


def test_memory_is_bounded():
    world = opened(AGENTS, made(capacity=4, keep=3))
    for _ in range(10):
        world.resolve(acts(*(propose(0, 3, 1) for _ in range(2)), buy(2, 2, ("soup",))))
        world.digests()
    directory = world.directory
    assert {len(column) for table in (directory.proposals, directory.sales) for column in table._columns.values()} == {
        3
    }
    assert len(directory.proposals._under_way) < 25
    acted = acts(*((1, "directory.register", {"prices": {"tea": 1}}) for _ in range(2)))
    assert world.resolve(acted).refused == [(acted[1], "directory_full")]


def test_bad_settings_queries_and_states():
    for setting, said in (
        ({"items": []}, "at least one item"),
        ({"items": ["a", "a"]}, "no name twice"),
        ({"attributes": [str(at) for at in range(63)]}, "62 attributes"),
        ({"keep": 0}, "keep=0"),
        ({"ranking": "best"}, "ranking='best'"),
        ({"show": 0}, "show=0"),
        ({"delay_factor": -1.0}, "delay_factor=-1.0"),
    ):
        with pytest.raises(ScenarioError, match=said):
            Directory(**({"items": ["a"], "attributes": []} | setting))
    for listings, said in (
        ({0: [{"prices": {"gold": 1}}]}, "listing 0 of seller 0: no item 'gold'; there are: soup"),
        ({9: [{"prices": {"tea": 1}}]}, "sellers are 0 to 3"),
        ({0: [{"prices": {"tea": 1}, "attributes": ["sea"]}]}, "no attribute 'sea'"),
        ({0: [{"prices": {"tea": -1}}]}, "from 0 to"),
        ({0: [{"prices": {"tea": 1}, "delay": -1.0}]}, "delay is 0 or more"),
        ({0: [{"prices": {"tea": "free"}}]}, r"Expected `int`"),
    ):
        with pytest.raises(ScenarioError, match=said):
            opened(AGENTS, made(listings=listings))
    with pytest.raises(ScenarioError, match="each from 0 to"):
        opened(AGENTS, made(cents=-1))
    world = opened(AGENTS, made())
    for query, args in (
        ("search", {"n": 0}), ("search", {"items": ["gold"]}), ("search", {"value_cents": -1}), ("search", {"x": 1}),
        ("search", {"items": 5}), ("search", {"items": [["soup"]]}), ("search", {"attributes": "wifi"}),
        ("listing", {}), ("listing", {"listing": 77}), ("own", {"of": 1}), ("proposals_to", {"of": 1}),
    ):  # fmt: skip
        assert isinstance(look(world, f"directory.{query}", **args), LookFailed), (query, args)
    state = world.state()
    with pytest.raises(ScenarioError, match="has 3 agents"):
        opened(3, made()).restore(state)
    with pytest.raises(ScenarioError, match="has 3 items"):
        opened(AGENTS, Directory(["soup"], cents=600)).restore(state)
    for _ in range(8):
        world.resolve(acts(propose(0, 3, 1)))
    with pytest.raises(ScenarioError, match="keeps 6 proposals"):
        opened(AGENTS, made(keep=9)).restore(world.state())
