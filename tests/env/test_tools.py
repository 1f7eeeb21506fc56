"""Tools: what is refused changes nothing, grading goes by the state, policy breaks are counted, state exact."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.env_support import acts, look, opened

from populace.core.errors import ScenarioError
from populace.env import Domain, PolicyRule, Refusal, Task, Tools, World, pass_hat
from populace.env.tools.tables import Changes, Database, View, difference

TABLES = {
    "accounts": {"name": ["ann", "bob", "cy"], "money": [5, 9, 0], "tags": [["old"], [], []]},
    "loans": {"loan": [1], "who": ["bob"]},
}


def pay(db: Any, *, giver: str, taker: str, amount: int) -> int:
    """Move money from one account to another."""
    one, other = db.row("accounts", giver), db.row("accounts", taker)
    db.put("accounts", giver, money=one["money"] - amount)  # changed before it is refused, on purpose
    if not 0 < amount <= one["money"] or giver == taker:
        raise Refusal("no_money")
    db.put("accounts", taker, money=other["money"] + amount)
    return int(one["money"] - amount)


def lend(db: Any, *, loan: int, who: str, kind: Literal["short", "long"] = "short") -> None:
    db.add("loans", loan, who=who)
    tags = db.row("accounts", who)["tags"]
    db.put("accounts", who, tags=[*tags, kind])


def repay(db: Any, *, loan: int) -> None:
    db.drop("loans", loan)


def show(db: Any, *, who: str) -> dict[str, Any]:
    return {**db.row("accounts", who), "loans": [one["loan"] for one in db.find("loans", who=who)]}


POLICY = [
    PolicyRule(name="not_looked", text="Look first.", tools=("pay",), kept=lambda call: "show" in call.history),
    PolicyRule(
        name="too_much", text="At most 4.", tools=("pay",), enforced=True, kept=lambda call: call.args["amount"] <= 4
    ),
    PolicyRule(
        name="broke", text="Nobody is left with nothing.", tools=("pay",),
        kept=lambda call: call.after.row("accounts", call.args["giver"])["money"] > 0,
    ),
]  # fmt: skip
BANK = Domain("bank", TABLES, [pay, lend, repay, show], POLICY)
LOOKED = ("show", {"who": "ann"})
TASKS = [
    Task(wish="pay bob 2", goal=(LOOKED, ("pay", {"giver": "ann", "taker": "bob", "amount": 2}))),
    Task(wish="nothing", goal=(), hard=0.5),
]
NAMES = st.sampled_from(["ann", "bob", "cy", "dan"])
CALLS = st.one_of(
    st.tuples(
        st.just("pay"),
        st.fixed_dictionaries({"giver": NAMES, "taker": NAMES, "amount": st.sampled_from([-1, 1, 3, 9])}),
    ),
    st.tuples(st.just("lend"), st.fixed_dictionaries({"loan": st.integers(1, 3), "who": NAMES})),
    st.tuples(st.just("repay"), st.fixed_dictionaries({"loan": st.integers(1, 3)})),
    st.tuples(st.just("show"), st.fixed_dictionaries({"who": NAMES})),
    st.tuples(st.sampled_from(["pay", "fly"]), st.just({"giver": 3})),
)
DONE = st.just(("done", {}))
TICKS = st.lists(st.lists(st.tuples(st.integers(0, 3), st.one_of(CALLS, CALLS, DONE)), max_size=8), max_size=5)


def states(calls: list[tuple[str, dict[str, Any]]]) -> Changes:
    changes: Changes = {}
    for tool, args in calls:
        changes = BANK.call(changes, tool, args).changes
    return changes


def bank(**options: Any) -> tuple[World, Tools]:
    part = Tools(BANK, **({"tasks": TASKS, "agents": [0, 1, 2], "users": [3, 4, 5], "series": 3} | options))
    return opened(6, part), part


def made(rows: list[Any]) -> list[Any]:
    return acts(
        *(
            (agent, "tools.done", {}) if tool == "done" else (agent, "tools.call", {"tool": tool, "args": args})
            for agent, (tool, args) in sorted(rows, key=lambda row: row[0])
        )
    )


def rows_of(view: View) -> dict[str, list[Any]]:
    return {table: view.find(table) for table in TABLES}


@settings(max_examples=60)
@given(st.lists(CALLS, max_size=8), st.lists(CALLS, max_size=8))
def test_grading_is_symmetric_and_by_the_state_alone(one: list[Any], other: list[Any]):
    left, right = states(one), states(other)
    found = difference(BANK.base, left, right)
    assert [(t, k, c, b, a) for t, k, c, a, b in found] == difference(BANK.base, right, left)
    same = {t: sorted(map(str, rows)) for t, rows in rows_of(View(BANK.base, left)).items()} == {
        t: sorted(map(str, rows)) for t, rows in rows_of(View(BANK.base, right)).items()
    }
    assert (found == []) == same
    assert difference(BANK.base, left, left) == []


@settings(max_examples=60)
@given(st.lists(CALLS, max_size=10))
def test_a_refused_call_changes_nothing_and_money_is_conserved(calls: list[Any]):
    changes: Changes = {}
    for tool, args in calls:
        before = str(changes)
        done = BANK.call(changes, tool, args)
        assert str(changes) == before
        if done.refused:
            assert done.changes is changes
        changes = done.changes
        assert sum(row["money"] for row in View(BANK.base, changes).find("accounts")) == 14


def test_the_check_of_refusals_would_see_a_tool_that_keeps_what_it_did():
    view = View(Database(TABLES))
    with pytest.raises(Refusal):
        pay(view, giver="ann", taker="bob", amount=9)
    assert view.changes  # what `Domain.call` throws away


@settings(max_examples=40)
@given(TICKS, st.booleans())
def test_random_calls_keep_state_exact_and_refusals_leave_no_trace(ticks: list[list[Any]], shared: bool):
    options: dict[str, Any] = {"tasks": [], "users": None} if shared else {}
    (world, part), (plain, other) = bank(**options), bank(**options)
    for rows in ticks:
        given_acts = made(rows)
        resolved = world.resolve(given_acts)
        no = {(one.agent, one.nth) for one, _ in resolved.refused}
        assert not plain.resolve([one for one in given_acts if (one.agent, one.nth) not in no]).refused
        assert part.digest() == other.digest()
    records = part.records.columns()
    assert np.all(records["passed"] == (records["wrong"] == 0))
    assert part.tried.sum() == len(records["tick"])
    again, copy = bank(**options)
    again.restore(world.state())
    assert copy.digest() == part.digest()
    more = made([(0, ("pay", {"giver": "ann", "taker": "cy", "amount": 1})), (1, ("done", {}))])
    assert world.resolve(more).emissions == again.resolve(more).emissions
    assert copy.digest() == part.digest()


def test_a_task_passes_by_its_end_state_and_breaks_are_counted():
    world, part = bank(tasks=TASKS[:1], series=2)
    good = [LOOKED, ("pay", {"giver": "ann", "taker": "bob", "amount": 2}), ("done", {})]
    lazy = [("pay", {"giver": "ann", "taker": "bob", "amount": 2}), ("done", {})]
    wrong = [LOOKED, ("pay", {"giver": "ann", "taker": "bob", "amount": 1}), ("done", {})]
    resolved = world.resolve(
        made([*((0, one) for one in good), *((1, one) for one in lazy), *((2, one) for one in wrong)])
    )
    assert not resolved.refused
    records = part.records.columns()
    assert dict(zip(records["agent"].tolist(), records["passed"].tolist(), strict=True)) == {0: True, 1: True, 2: False}
    assert dict(zip(records["agent"].tolist(), records["breaks"].tolist(), strict=True)) == {0: 0, 1: 1, 2: 0}
    assert part.broken.tolist() == [1, 0, 0]
    assert (part.passed.tolist(), part.tried.tolist()) == ([2], [3])
    assert part.pass_hat(1) == pytest.approx(2 / 3)
    assert part.pass_hat(2) == pytest.approx(1 / 3)
    assert np.isnan(part.pass_hat(4))


def test_an_enforced_rule_refuses_and_a_lever_enforces_all():
    world, part = bank(agents=None, users=None, tasks=[])
    five = ("pay", {"giver": "bob", "taker": "ann", "amount": 5})
    three = ("pay", {"giver": "bob", "taker": "ann", "amount": 3})
    assert [why for _, why in world.resolve(made([(0, five), (1, three)])).refused] == ["too_much"]
    assert part.view().row("accounts", "ann")["money"] == 8
    part.set_parameter("enforce", True)
    resolved = world.resolve(made([(0, three)]))
    assert [why for _, why in resolved.refused] == ["not_looked"]
    assert resolved.emissions == [(0, {"tool": "pay", "refused": "not_looked", "left": 1})]
    assert not world.resolve(made([(0, ("show", {"who": "cy"})), (0, three)])).refused


def test_words_of_refusal():
    world, _ = bank(calls=2, series=1)
    rows = [
        ("fly", {}), ("pay", {"giver": "ann"}), ("lend", {"loan": 1, "who": "ann"}), ("show", {"who": "dan"}),
        ("lend", {"loan": 2, "who": "ann", "kind": "wide"}), ("show", {"who": "ann"}), ("repay", {"loan": 1}),
        ("repay", {"loan": 1}), ("done", {}), ("show", {"who": "ann"}),
    ]  # fmt: skip
    resolved = world.resolve(made([(0, one) for one in rows] + [(4, ("done", {}))]))
    assert [why for _, why in resolved.refused] == [
        "unknown_tool", "bad_arguments", "taken_loans", "unknown_accounts", "bad_arguments", "no_calls_left", "no_task",
        "no_task",
    ]  # fmt: skip
    within, _ = bank(within_tick=True)
    assert within.resolve(made([(0, ("done", {}))])).refused[0][1] == "in_rounds"


def test_the_user_knows_its_wish_and_the_agent_the_manual():
    world, part = bank()
    assert look(world, "tools.wish", 0) == {}
    assert {look(world, "tools.wish", user)["wish"] for user in part.users} == {"pay bob 2", "nothing"}
    manual = look(world, "tools.manual", 0)
    assert "pay(giver: str, taker: str, amount: int): Move money" in manual["tools"]
    assert "- Look first." in manual["policy"]
    assert {one["tools.hard"] for one in world.observe([0, 1, 2])} == {0.0, 0.5}


def test_a_row_that_is_changed_back_is_no_change():
    there = [
        ("pay", {"giver": "bob", "taker": "ann", "amount": 2}),
        ("pay", {"giver": "ann", "taker": "bob", "amount": 2}),
    ]
    assert states(there) == {}
    assert states([("repay", {"loan": 1}), ("lend", {"loan": 1, "who": "cy"})])["loans"] == {
        1: {"loan": 1, "who": "cy"}
    }


def test_pass_hat_of_equal_chances_is_their_power():
    passed, tried = np.array([4, 2, 0]), np.array([4, 4, 4])
    assert pass_hat(passed, tried, 1) == pytest.approx(0.5)
    assert pass_hat(passed, tried, 2) == pytest.approx((1 + 1 / 6 + 0) / 3)
    assert pass_hat(passed, tried, 4) == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="at least 1"):
        pass_hat(passed, tried, 0)


def untyped(db: Any, *, who) -> None: ...  # type: ignore[no-untyped-def]


def broken(db: Any, *, who: str) -> None:
    db.put("accounts", who, money="much")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Domain("x", {"a": {"k": [1, 1]}}, []), "no value comes twice"),
        (lambda: Domain("x", {"a": {"k": [1], "b": []}}, []), "of one length"),
        (lambda: Domain("x", TABLES, [untyped]), "'untyped'.*give 'who' a type"),
        (
            lambda: Domain("x", TABLES, [pay], [PolicyRule(name="r", text="", tools=("fly",), kept=bool)]),
            "are among",
        ),
        (lambda: Domain("x", TABLES, [broken]).call({}, "broken", {"who": "ann"}), "'money'.*holds int.*str"),
        (lambda: Tools(BANK, [Task(wish="", goal=(("repay", {"loan": 9}),))]), r"repay\({'loan': 9}\).*unknown_loans"),
        (lambda: Tools(BANK, [Task(wish="", goal=(TASKS[0].goal[1],))]), "it breaks not_looked"),
        (lambda: Tools(BANK, within_tick=True), "rounds need tasks"),
        (lambda: bank(users=[3]), "1 users for 3 agents"),
        (lambda: bank()[1].view(5), "one of its agents"),
        (lambda: View(Database(TABLES)).find("accounts", mood=1), "no column 'mood'"),
    ],
)
def test_what_cannot_be_is_told(make: Any, said: str):
    with pytest.raises(ScenarioError, match=said):
        make()
