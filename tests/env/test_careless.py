"""Odd arguments of one agent: they are refused, change nothing of what another agent gave, and end no run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.cities import street
from support.env_support import Setup, acts, look, opened

from populace.core.errors import ScenarioError
from populace.env import (
    Bargain,
    Batch,
    Cases,
    CaseSet,
    Clock,
    Community,
    Directory,
    Economy,
    Fact,
    Games,
    LookFailed,
    Master,
    Network,
    OrderBook,
    Platform,
    Stage,
    Talk,
    World,
)
from populace.env.games import dictator, prisoners_dilemma
from populace.env.market.proposals import Proposals
from populace.env.market.ranking import Words
from populace.env.talk import part as talk_part
from populace.env.world import Applied


def resolved(world: World, kind: str, *rows: dict[str, Any]) -> list[str]:
    """Why each agent's act is refused, '' where it isn't: agent 0 has the first row."""
    made = acts(*((agent, kind, args) for agent, args in enumerate(rows)))
    refused = {one.agent: reason for one, reason in world.resolve(made).refused}
    return [refused.get(agent, "") for agent in range(len(rows))]


def check_orders_by_themselves() -> None:
    def order(side: Any = "buy", price: Any = 10, quantity: Any = 2) -> dict[str, Any]:
        return {"side": side, "price": price, "quantity": quantity}

    rows = order(), order(side=1), order(price=True), order(price=2.5), order(quantity="2"), order(side=["buy"]), {}
    world = opened(7, OrderBook())
    assert resolved(world, "book.submit", *rows) == ["", "", *["bad_arguments"] * 5]
    assert world.book.book.orders()["account"].tolist() == [0, 1]


def test_orders_of_all_kinds_are_each_taken_by_themselves():
    check_orders_by_themselves()


def test_an_order_that_is_read_with_the_others_is_found_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Batch, "alike", Batch.column)
    with pytest.raises((AssertionError, ScenarioError)):
        check_orders_by_themselves()


def test_true_is_no_amount_of_money_beside_one_that_is():
    world = opened(3, Economy(firms=1))
    rows = [{"cents": 5}, {"cents": True}, {"cents": 2.0}]
    assert resolved(world, "economy.consume", *rows) == ["", "bad_arguments", "bad_arguments"]


def test_a_move_in_words_leaves_the_others_moves_as_they_are():
    world = opened(2, Games(prisoners_dilemma(), matching="fixed"))
    assert resolved(world, "game.move", {"move": 0}, {"move": "defect"}) == ["", ""]
    world = opened(4, Games(dictator(), matching="fixed"))
    givers = world.game._now(0)[0][:, 0]
    made = acts(
        *((int(agent), "game.move", {"move": move}) for agent, move in zip(sorted(givers), (3, None), strict=True))
    )
    assert [reason for _, reason in world.resolve(made).refused] == ["not_allowed"]


def worlds() -> dict[str, World]:
    terms = {"price": ["low", "high"]}
    points = {"price": {"low": 1.0, "high": 2.0}}
    cases = CaseSet([Fact(key="pain")], {"pain": ["present"]}, ["flu", "gout"], ["flu"])
    return {
        "city.nearby": street(2),
        "city.at_place": street(2),
        "city.here": street(2),
        "clock.read": opened(2, Clock("2024-01-01")),
        "directory.search": opened(2, Directory(["tea"])),
        "directory.listing": opened(2, Directory(["tea"])),
        "bargain.worth": opened(2, Bargain(terms, [{"sides": [0, 1], "points": [points, points]}])),
        "bargain.history": opened(2, Bargain(terms, [{"sides": [0, 1], "points": [points, points]}])),
        "game.history": opened(2, Games(prisoners_dilemma())),
        "book.depth": opened(2, OrderBook()),
        "feed.ranked_by": opened(2, Platform()),
        "feed.latest": opened(2, Platform()),
        "feed.by": opened(2, Platform()),
        "feed.thread": opened(2, Platform()),
        "feed.community": opened(2, Platform(communities=[Community("news", "")])),
        "cases.kappa": opened(2, Cases(cases, solvers=[0, 1])),
        "columns.of": opened(2, Clock("2024-01-01")),
        "network.ties": opened(2, Network.edges(Setup(2), [0], [1])),
        "economy.figures": opened(2, Economy(firms=1)),
        "economy.firm": opened(2, Economy(firms=1)),
    }


ODD: list[dict[str, Any]] = [
    *({name: 1} for name in ("self", "city", "what", "usual", "most", "args")),
    *({name: []} for name in ("name", "recommender", "criterion", "place", "kind", "mode", "post", "author", "agent")),
    {"agent": None},
    {"recommender": {}, "n": 1},
]


@pytest.mark.parametrize("query", worlds())
def test_questions_with_any_arguments_fail_alone(query: str):
    world = worlds()[query]
    assert query in world.queries
    for args in ODD:
        assert isinstance(world.look(query, [0], [args])[0], LookFailed), args


def test_vectors_that_would_end_in_infinity_are_refused():
    interests = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    world = opened(3, Platform(interests=interests, learning=0.5))
    rows = [{"text": "a", "vector": [1.0, one]} for one in (float("nan"), 1e300, -2.0)]
    assert resolved(world, "feed.post", *rows) == ["bad_arguments", "bad_arguments", ""]
    for bad in (float("nan"), 1e30):
        with pytest.raises(ScenarioError, match="interests are finite numbers up to 1e"):
            Platform(interests=[[bad]])


def test_proposals_under_way_for_ever_take_no_room_once_they_are_dropped():
    proposals = Proposals(3, 1, 2)
    for number in range(100):
        given = {"tick": 0, "listing": 0, "seller": 0, "buyer": 1, "price_cents": 1, "text": ""}
        proposals.propose([0], **given, time=1e9 - number, tie=np.uint64(number))
    assert len(proposals._under_way) <= 6
    assert proposals.arrive(2 * 10**9) == [99, 98, 97]


SIZES: list[tuple[str, Any]] = [
    *((name, lambda **given: OrderBook(**given)) for name in ("max_price", "capacity", "keep_trades", "keep_ticks")),
    *((name, lambda **given: Directory(["tea"], **given)) for name in ("basket", "capacity", "keep")),
    *((name, lambda **given: Games(dictator(), **given)) for name in ("memory", "keep", "repetitions")),
    *((name, lambda **given: Talk(by="acts", **given)) for name in ("size", "cap", "patience", "keep", "deadline")),
    *((name, lambda **given: Platform(**given)) for name in ("keep", "show")),
    ("keep", lambda **given: Bargain({"price": ["low"]}, **given)),
    ("keep_days", lambda **given: street(1, **given)),
    ("visits", lambda **given: Economy(firms=1, **given)),
]


@pytest.mark.parametrize(("name", "make"), SIZES)
def test_sizes_are_whole_numbers(name: str, make: Any):
    for bad in (5.0, 1e6, float("nan"), float("inf"), True, 0):
        with pytest.raises(ScenarioError, match=rf"{name}=.*number"):
            make(**{name: bad})
    with pytest.raises(ScenarioError, match=r"capacity=1000000.0.: is a whole number, at least 1: write 1000000"):
        OrderBook(capacity=1e6)  # type: ignore[arg-type]


def test_ticks_ahead_stay_within_what_a_column_holds():
    with pytest.raises(ScenarioError, match="suspension_ticks is at most 1000000000"):
        Platform(suspension_ticks=2**31)


def test_a_transfer_to_nobody_is_found_out_before_the_run():
    with pytest.raises(ScenarioError, match="transfer_to = 'jobless': it is one of all"):
        opened(2, Economy(firms=1, transfer_to="jobless"))
    world = opened(2, Economy(firms=1))
    with pytest.raises(ScenarioError, match="transfer_to = 'jobless'"):
        world.economy.set_parameter("transfer_to", "jobless")


def said(agent: int, **one: Any) -> tuple[int, str, dict[str, Any]]:
    return agent, "talk.say", one


def check_who_left_hears_no_more() -> None:
    world = opened(3, Talk(3, by="acts", protocol="all", cap=9, matching="fixed"))
    world.resolve(acts(said(0, say="all hear this"), said(1, say="me too", leave=True), said(2, note="hm")))
    world.resolve(acts(said(0, say="now that 1 is gone"), said(2, say="to nobody but 0", to=[0, 1])))
    heard = [[one["text"] for one in look(world, "talk.heard", agent, conversation=0)] for agent in range(3)]
    assert sorted(heard[0]) == sorted(heard[1] + ["now that 1 is gone", "to nobody but 0"])
    assert sorted(heard[1]) == ["all hear this", "me too"]
    rows = zip(world.talk.transcript()["texts"], world.talk.transcript()["ids"], strict=True)
    assert {text: sorted(ids) for text, ids in rows}["to nobody but 0"] == [0, 2]


def test_who_has_left_a_conversation_hears_no_more_of_it():
    check_who_left_hears_no_more()


def test_a_transcript_that_is_told_to_those_who_left_is_found_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(talk_part, "line_row", all_members)
    with pytest.raises(AssertionError):
        check_who_left_hears_no_more()


def all_members(talk: Any, tick: int, line: Any) -> Any:
    others = [member for member in talk.members if member != line.speaker]
    return (talk.number, tick, line.turn, line.speaker, bool(line.to)), line.text, [line.speaker, *others]


def test_levers_values_that_no_column_holds_are_refused():
    with pytest.raises(ScenarioError, match="capacity_factor = 1e"):
        street(2).city.set_parameter("capacity_factor", 1e300)
    cases = CaseSet([Fact(key="pain")], {"pain": ["present"]}, ["flu", "gout"], ["flu"])
    with pytest.raises(ScenarioError, match="at most 2147483647"):
        Cases(cases, questions=2**31)
    with pytest.raises(ScenarioError, match="at most 2147483647"):
        opened(1, Cases(cases)).cases.set_parameter("questions", 2**31)


def searched_before_and_after() -> list[Any]:
    """What a search finds once a menu has grown, where the index was made before that, and where it is made after."""
    stalls = {0: [{"name": "Lotus", "prices": {"soup": 3}}], 1: [{"name": "Tea and tea", "prices": {"tea": 1}}]}
    world, again = (opened(2, Directory(["soup", "tea"], listings=stalls, ranking="lexical")) for _ in range(2))
    for words in ("soup", "tea"):
        look(world, "directory.search", 0, text=words)
    for listing, prices in ((0, {"tea": 2}), (1, {"soup": 1, "tea": 4})):
        world.resolve(acts((listing, "directory.reprice", {"listing": listing, "prices": prices})))
    again.restore(world.state())
    found = []
    for one in (world, again):
        look(one, "directory.search", 0, text="tea")
        found.append([one.directory._words.scores(words).tolist() for words in ("soup", "tea", "lotus tea")])
    return found


def test_an_index_that_grew_is_the_one_that_is_made_anew():
    before, after = searched_before_and_after()
    assert before == after
    assert min(before[1]) > 0


def test_an_index_that_does_not_grow_is_found_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Words, "more", lambda *_: None)
    before, after = searched_before_and_after()
    assert before != after


def test_what_somebody_holds_who_leaves_for_good_lies_where_it_stood():
    world = opened(2, Master(Stage({"hall": ["garden"], "garden": ["hall"]}, {"key": "hall"})))
    stage = world.master.stage
    stage.give("key", 1)
    stage.move(1, "garden")
    world.digests()
    world.apply([])
    world.retire(1)
    world.finish(Applied([], [], {}))
    assert (stage.lies_in("key"), stage.present_in("garden"), stage.present_in("hall")) == ("garden", [], ["agent 0"])
    assert stage.place_of(1) == ""
    assert world.master.observe(1, np.array([1]))["things"] == world.master.observe(1, np.array([1]))["exits"] == [[]]
    again = opened(2, Master(Stage({"hall": ["garden"], "garden": ["hall"]}, {"key": "hall"})))
    again.restore(world.state())
    assert again.digests() == world.digests()
