"""The part that plays games: matching, hidden moves, trees, defaults and forfeits, state, fairness to ids."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.env_support import acts, look, opened

from populace.core.draws import Draws
from populace.core.errors import ScenarioError
from populace.env import Games, LastRound, Round, World
from populace.env.digest import state_digest
from populace.env.games import (
    Game,
    Span,
    Stage,
    dictator,
    guessing,
    normal_form,
    prisoners_dilemma,
    public_goods,
    rock_paper_scissors,
    shown,
    trust,
    ultimatum,
)
from populace.env.games.board import Board

RPS = ("rock", "paper", "scissors")


def moves(*rows: tuple[int, Any]) -> list[Any]:
    return acts(*((agent, "game.move", {"move": move}) for agent, move in rows))


def seen(world: World, agent: int) -> dict[str, Any]:
    return {name.partition(".")[2]: value for name, value in world.observe([agent])[0].items()}


def test_moves_are_hidden_until_both_have_moved():
    world = opened(2, Games(prisoners_dilemma(), matching="fixed"))
    before = seen(world, 0)
    assert before["moves"] == ["cooperate", "defect"]
    assert before["partners"] == [1]
    assert before["history"] == []
    world.apply(moves((1, "defect")))
    assert "defect" not in str({**seen(world, 0), "moves": None})
    assert world.game.table.ended == 0


def test_a_part_that_shows_moves_at_once_is_found_out(monkeypatch: pytest.MonkeyPatch):
    def at_once(game: Game, board: Board, play: int) -> dict[str, Any]:
        return {"move": [game.shown(0, seat, board.flat[play]) for seat in range(game.seats)]}

    monkeypatch.setattr(shown, "_so_far", at_once)
    with pytest.raises(AssertionError, match="defect"):
        test_moves_are_hidden_until_both_have_moved()


def test_both_move_and_are_paid():
    world = opened(2, Games(prisoners_dilemma(), matching="fixed"))
    assert world.resolve(moves((0, "cooperate"), (1, "defect"))).refused == []
    assert seen(world, 0)["history"] == [{"own": "cooperate", "others": ["defect"], "payoff": 0.0}]
    assert (seen(world, 1)["payoff"], seen(world, 1)["score"]) == (5.0, 5.0)
    assert look(world, "game.scores", n=1) == {"agents": [1], "scores": [5.0]}


def test_refusals_have_one_word_each():
    world = opened(3, Games(ultimatum(), matching="fixed", keep_roles=True))
    proposer, responder = world.game._now(0)[0][0].tolist()
    alone = ({0, 1, 2} - {proposer, responder}).pop()
    bad = [
        (proposer, "game.move", {"move": 11}),
        (proposer, "game.move", {"move": 2.5}),
        (proposer, "game.move", {"move": "4"}),
        (proposer, "game.move", {"offer": 3}),
        (proposer, "game.move", {"move": 4}),
        (proposer, "game.move", {"move": 4}),
        (responder, "game.move", {"move": "accept"}),
        (alone, "game.move", {"move": 4}),
    ]
    refused = [reason for _, reason in world.resolve(acts(*bad)).refused]
    words = ["not_allowed"] * 3 + ["bad_arguments", "already_moved", "not_to_move", "no_play"]
    assert refused == words
    assert seen(world, responder)["so_far"] == {"offer": [4, None]}
    assert world.resolve(moves((responder, "accept"))).refused == []
    assert seen(world, proposer)["history"][-1] == {
        "own": {"offer": 4},
        "others": [{"answer": "accept"}],
        "payoff": 6.0,
    }
    assert world.resolve(moves((alone, 1), (proposer, 1))).refused[0][1] == "no_play"


@pytest.mark.parametrize(
    ("game", "rows", "expected"),
    [
        (dictator(), [[3]], [7.0, 3.0]),
        (trust(), [[5], [None, 9]], [14.0, 6.0]),
        (ultimatum(), [[5], [None, "reject"]], [0.0, 0.0]),
        (rock_paper_scissors(), [["paper", "rock"]], [1.0, -1.0]),
        (guessing(3), [[60.0, 30.0, 0.0]], [0.0, 1.0, 0.0]),
        (public_goods(3), [[20, 20, 0], [[0, 0, 4], [0, 0, 0], [0, 0, 0]]], [12.0, 16.0, 24.0]),
    ],
)
def test_the_ready_games_pay_what_their_papers_say(game: Game, rows: list[list[Any]], expected: list[float]):
    world = opened(game.seats, Games(game, matching="fixed", keep_roles=True))
    seats = world.game._now(0)[0][0].tolist()
    for row in rows:
        chosen = [(seats[at], move) for at, move in enumerate(row) if move is not None]
        assert world.resolve(moves(*sorted(chosen))).refused == []
    assert world.game.plays()["payoffs"].tolist() == [expected]
    assert world.game.payoff[seats].tolist() == expected


def test_what_is_sent_back_in_a_trust_game_is_at_most_what_came():
    world = opened(2, Games(trust(), matching="fixed", keep_roles=True))
    investor, trustee = world.game._now(0)[0][0].tolist()
    world.resolve(moves((investor, 2)))
    assert seen(world, trustee)["moves"] == {"low": 0, "high": 6.0, "whole": True, "each": False}
    assert world.resolve(moves((trustee, 7))).refused[0][1] == "not_allowed"


def centipede() -> Game:
    """A tree: take and end it, or pass."""

    def payoff(moved: Any) -> Any:
        first, second = moved["first"][:, 0] == 1, moved["second"][:, 0] == 1
        return np.column_stack([np.where(first, 2.0, np.where(second, 1.0, 4.0)), np.where(second, 3.0, 1.0)])

    second = Stage("second", ("pass", "take"), (1,), when=lambda moved: moved["first"][:, 0] == 0, default="take")
    return Game("centipede", ("a", "b"), (Stage("first", ("pass", "take"), (0,)), second), payoff)


def test_a_tree_ends_where_its_branch_ends_and_a_repetition_when_all_plays_have():
    world = opened(4, Games(centipede(), matching="fixed", keep_roles=True))
    rows = world.game._now(0)[0].tolist()
    world.resolve(moves(*sorted([(rows[0][0], "take"), (rows[1][0], "pass")])))
    assert world.game.table.ended == 0
    assert seen(world, rows[0][1])["stage"] == ""
    assert seen(world, rows[1][1])["stage"] == "second"
    world.resolve([])
    assert world.game.plays()["payoffs"].tolist() == [[2.0, 1.0], [1.0, 3.0]]
    assert np.isnan(world.game.plays()["moves"][0, 1])
    assert world.game.counts["missing"] == 1


def test_who_is_to_move_gets_word_and_in_the_first_tick_is_waited_for():
    world = opened(2, Games(ultimatum(), matching="fixed", keep_roles=True, notify=True))
    proposer, responder = world.game._now(0)[0][0].tolist()
    assert world.resolve([]).emissions == [(proposer, {"stage": "offer"})]
    assert world.resolve(moves((proposer, 3))).emissions == [(responder, {"stage": "answer"})]
    assert sorted(world.resolve(moves((responder, "accept"))).emissions) == [
        (0, {"stage": "offer"}),
        (1, {"stage": "offer"}),
    ]
    assert world.game.counts["missing"] == 0


def test_who_does_not_move_forfeits_where_there_is_no_default():
    game = normal_form("bet", ("a", "b"), np.ones((2, 2, 2)), forfeit=(-5.0, 2.0))
    world = opened(2, Games(game, matching="fixed", keep_roles=True))
    first, second = world.game._now(0)[0][0].tolist()
    world.resolve(moves((first, "a")))
    assert (world.game.score[first], world.game.score[second]) == (2.0, -5.0)
    assert world.game.plays()["forfeited"].tolist() == [[False, True]]
    assert world.game.counts["forfeits"] == 1
    assert world.game.counts["missing"] == 1


@given(st.integers(2, 11), st.sampled_from(["random", "fixed", "round_robin"]), st.integers(0, 99))
@settings(max_examples=20)
def test_everybody_is_matched_at_most_once_a_repetition(agents: int, matching: Any, seed: int):
    world = opened(agents, Games(prisoners_dilemma(), matching=matching), seed=seed)
    met: Counter[frozenset[int]] = Counter()
    cycle = agents - 1 + agents % 2
    for _ in range(cycle):
        rows = world.game._now(world.tick)[0]
        assert len(set(rows.ravel().tolist())) == rows.size == agents // 2 * 2
        met.update(frozenset(row) for row in rows.tolist())
        world.resolve(moves(*((agent, 0) for agent in range(agents))))
    if matching == "round_robin":
        assert len(met) == agents * (agents - 1) // 2
        assert set(met.values()) == {1}
    if matching == "fixed":
        assert set(met.values()) == {cycle}
    assert world.game.played.sum() == 2 * world.game.table.ended


def first_seats(agents: int, ticks: int, sort: bool) -> np.ndarray:
    counts = np.zeros(agents)
    for seed in range(ticks):
        world = opened(agents, Games(ultimatum()), seed=seed)
        rows = world.game._now(0)[0]
        counts[(np.sort(rows, axis=1) if sort else rows)[:, 0]] += 1
    return counts


def test_no_id_is_favoured_in_seats_and_in_sitting_out():
    """Chi-squared with 4 degrees of freedom: 18.5 is its 0.1 % point; the control seats by id and is far beyond."""

    def statistic(sort: bool) -> float:
        counts = first_seats(5, 400, sort)
        return float(((counts - counts.mean()) ** 2 / counts.mean()).sum())

    assert statistic(False) < 18.5 < statistic(True)


@given(st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 12)), max_size=8), min_size=1, max_size=6))
@settings(max_examples=25)
def test_state_is_exact_and_the_digest_is_kept(ticks: list[list[tuple[int, int]]]):
    def made() -> World:
        return opened(6, Games(trust(), keep=5, memory=2, shown=1))

    world = made()
    for rows in ticks:
        world.resolve(moves(*sorted(rows)), digests=True)
        again = made()
        again.restore(world.state())
        assert state_digest(again.state()) == state_digest(world.state())
        assert again.digests() == world.digests()
        assert again.observe(list(range(6))) == world.observe(list(range(6)))
    more = moves((0, 3), (1, 3), (5, 0))
    assert again.resolve(more, digests=True).digests == world.resolve(more, digests=True).digests
    assert len(world.game.plays()["play"]) <= 5


def test_numbers_in_columns_and_one_by_one_come_to_the_same():
    rows = [(0, 3), (1, 4), (2, 11), (3, 0), (0, 2), (4, 1)]
    whole = opened(5, Games(ultimatum(), sees="numbers"))
    single = opened(5, Games(ultimatum()))
    odd = [*moves(*rows), *acts((4, "game.move", {"move": "x"}))]
    one, other = whole.resolve(moves(*rows)), single.resolve(odd)
    assert [(act.agent, act.nth, why) for act, why in one.refused] == [
        (act.agent, act.nth, why) for act, why in other.refused if act.args["move"] != "x"
    ]
    assert whole.game._board is not None
    assert single.game._board is not None
    assert np.array_equal(whole.game._board.flat, single.game._board.flat, equal_nan=True)
    shown = whole.observe_columns(np.arange(5, dtype=np.int32))
    assert shown["game.to_move"].any()
    assert (shown["game.seat"][shown["game.to_move"]] == 1).all()


def test_numbers_show_the_last_moves():
    world = opened(2, Games(rock_paper_scissors(), matching="fixed", sees="numbers"))
    world.resolve(moves((0, "paper"), (1, "rock")))
    shown = world.observe_columns(np.arange(2, dtype=np.int32))
    assert (shown["game.own_last"].tolist(), shown["game.other_last"].tolist()) == ([1.0, 0.0], [0.0, 1.0])
    world.game.set_parameter("shown", 0)
    assert np.isnan(world.observe_columns(np.arange(2, dtype=np.int32))["game.own_last"]).all()


def held(part: Games, members: tuple[int, ...], rounds: list[dict[int, Any]]) -> Any:
    now = Round(
        group=0,
        number=len(rounds) - 1,
        last=False,
        members=members,
        said=rounds[-1],
        before=rounds[:-1],
        draw=Draws(0),
    )
    return part.round(now)


def test_by_rounds_a_tick_holds_whole_plays_and_a_leaver_ends_them():
    world = opened(2, Games(rock_paper_scissors(), by="rounds", repetitions=3, matching="fixed", keep_roles=True))
    part = world.game
    members = tuple(part.groups(0)[0])
    first, second = members
    rounds = [{first: "rock", second: "paper"}]
    heard = held(part, members, rounds)
    assert heard[first]["history"] == [{"own": "rock", "others": ["paper"], "payoff": -1.0}]
    assert heard[second]["score"] == 1.0
    assert heard[first]["moves"] == list(RPS)
    rounds.append({first: "rock"})
    last = held(part, members, rounds)
    assert isinstance(last, LastRound)
    assert last.reason == "forfeit"
    assert part.counts["moves"] == 0
    full = held(part, members, [{first: "rock", second: "rock"}] * 3)
    assert isinstance(full, LastRound)
    assert full.reason == "over"


def test_frames_and_shown_are_set_by_levers():
    world = opened(2, Games(prisoners_dilemma(), matching="fixed"))
    world.resolve(moves((0, "defect"), (1, "defect")))
    world.game.set_parameter("frame", "wall_street")
    world.game.set_parameter("shown", 0)
    assert "Wall Street" in seen(world, 0)["frame"]
    assert seen(world, 0)["history"] == []
    with pytest.raises(ScenarioError, match="has no frame 'casino'; it has neutral, community, wall_street"):
        world.game.set_parameter("frame", "casino")
    with pytest.raises(ScenarioError, match="0 to memory = 10"):
        world.game.set_parameter("shown", 11)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: normal_form("x", ("a", "b"), np.zeros((2, 3, 2))), r"have the shape \(2, 2, 2\)"),
        (lambda: Game("x", (), (), lambda moved: moved["a"]), "at least one role"),
        (lambda: Game("x", ("a",), (Stage("s", ("u",), (2,)),), lambda m: m["s"]), "places from 0 to 0"),
        (lambda: Game("x", ("a",), (Stage("s", ("u", "u")),), lambda m: m["s"]), "different labels"),
        (lambda: Game("x", ("a",), (Stage("s", ("u",), default="w"),), lambda m: m["s"]), "none of its moves"),
        (lambda: Game("x", ("a",), (Stage("s", Span(2, 1)),), lambda m: m["s"]), "no lower"),
        (lambda: Game("x", ("a", "b"), (Stage("s", Span(0, 1)),), lambda m: m["s"][:, :1]), r"it gave shape \(1, 1\)"),
        (lambda: prisoners_dilemma(reward=9.0), "makes it one"),
        (lambda: Games("chess"), "takes a populace.env.games.Game"),  # type: ignore[arg-type]
        (lambda: Games(guessing(3), matching="round_robin"), "for two players"),
        (lambda: Games(ultimatum(), matching="friends"), "matching is one of"),  # type: ignore[arg-type]
        (lambda: Games(ultimatum(), repetitions=2), "is for rounds"),
        (lambda: opened(2, Games(ultimatum(), players="firm")), "no agents of type 'firm'"),
    ],
)
def test_what_cannot_be_a_game_is_told(make: Any, said: str):
    with pytest.raises(ScenarioError, match=said):
        make()
