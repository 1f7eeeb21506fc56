"""Cases: what is hidden stays hidden, budgets are kept, one answer a case, no seat favoured, state exact."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.env_support import acts, look, opened

from populace.core.draws import Draws
from populace.core.errors import ScenarioError
from populace.env import BayesNet, Cases, CaseSet, Criterion, Fact, LookFailed, World, cohen_kappa
from populace.env.cases.sitting import HIDDEN, KNOWN, Sitting
from populace.env.dealing import Dealer

FACTS = [
    Fact(key="age", levels=("young", "old"), how="given"),
    Fact(key="pain", cost=1.0, to="anyone", words={"present": "it hurts"}),
    Fact(key="site", levels=("left", "right"), after=("pain",), cost=1.0),
    Fact(key="sweat", on=("nights",), stated=False, words={"present": "my sheets are wet"}),
    Fact(key="pulse", how="examine", cost=2.0),
    Fact(key="blood", how="order", cost=5.0),
]
VALUES = {
    "age": ["young", "old", "old"],
    "pain": ["present", "absent", "present"],
    "site": ["left", None, "right"],
    "sweat": ["present", "absent", "present"],
    "pulse": ["absent", "present", "present"],
    "blood": ["present", "present", "absent"],
}
CASES = CaseSet(FACTS, VALUES, ["flu", "gout"], ["flu", "gout", "gout"])
QUESTIONS = [*(fact.key for fact in FACTS), "nights", "weather"]


def ward(agents: int = 6, **options: Any) -> tuple[World, Cases]:
    """Solvers 0 to 2, holders 3 to 5, unless told otherwise."""
    given_options: dict[str, Any] = {"solvers": [0, 1, 2], "holders": [3, 4, 5], "questions": 4, "budget": 8.0}
    part = Cases(CASES, **(given_options | options))
    return opened(agents, part), part


def heard_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [*body.get("told", []), *body.get("found", [])]


ROW = st.tuples(
    st.integers(0, 6),
    st.one_of(
        st.tuples(
            st.sampled_from(["cases.ask", "cases.examine", "cases.order"]),
            st.fixed_dictionaries({"question": st.sampled_from(QUESTIONS)}),
        ),
        st.tuples(st.just("cases.answer"), st.fixed_dictionaries({"value": st.sampled_from(["flu", "gout", "no"])})),
        st.tuples(
            st.just("cases.tell"),
            st.fixed_dictionaries(
                {
                    "facts": st.dictionaries(
                        st.sampled_from(["pain", "site", "sweat", "blood"]), st.sampled_from(["present", "left", None])
                    )
                }
            ),
        ),
    ),
)
TICKS = st.lists(st.lists(ROW, max_size=12), min_size=1, max_size=6)


def played(ticks: list[list[Any]], **options: Any) -> tuple[World, Cases, list[Any]]:
    world, part = ward(7, **options)
    story = []
    for rows in ticks:
        resolved = world.resolve(acts(*((agent, *one) for agent, one in sorted(rows, key=lambda row: row[0]))))
        story.append(resolved)
    return world, part, story


def check_hidden(story: list[Any], part: Cases) -> None:
    """Nobody hears a fact before its rule is met: asked for, and after what it follows; holders never hear results."""
    asked: dict[int, set[str]] = {}
    for resolved in story:
        for agent, body in resolved.emissions:
            if "facts" in body:
                assert agent in part.holders
                rank = part.holders.tolist().index(agent)
                asked.setdefault(int(part.solvers[rank]), set()).update(body["facts"])
                assert not {"pulse", "blood", "age"} & set(body["facts"])
            for one in body.get("told", []):
                assert one["key"] in asked[agent]
                assert (one["level"] is None) >= (one["key"] == "sweat")


@settings(max_examples=40)
@given(TICKS, st.booleans())
def test_random_acts_keep_facts_hidden_budgets_kept_and_states_exact(ticks: list[list[Any]], endless: bool):
    world, part, story = played(ticks, series=None if endless else 2)
    check_hidden(story, part)
    work = part.work
    assert np.all(work.left >= 0)
    assert np.all(work.asked <= 4)
    assert np.all(work.spent <= 8.0)
    rows = part.records.columns()
    pairs = list(zip(rows["solver"].tolist(), rows["nth"].tolist(), strict=True))
    assert len(set(pairs)) == len(pairs) == sum(work.totals[:, 0])  # one answer a case
    assert sum(work.totals[:, 1]) == np.sum(rows["answer"] == rows["truth"])
    again, copy = ward(7, series=None if endless else 2)
    again.restore(world.state())
    assert copy.digest() == part.digest()
    more = acts((0, "cases.ask", {"question": "pain"}), (1, "cases.answer", {"value": "flu"}))
    one, other = world.resolve(more), again.resolve(more)
    assert (one.emissions, one.refused) == (other.emissions, other.refused)
    assert copy.digest() == part.digest()


@settings(max_examples=20)
@given(TICKS)
def test_a_refused_act_changes_nothing(ticks: list[list[Any]]):
    _, part, story = played(ticks)
    refused = {(tick, one.agent, one.nth) for tick, resolved in enumerate(story) for one, _ in resolved.refused}
    kept = []
    for tick, rows in enumerate(ticks):
        made = acts(*((agent, *one) for agent, one in sorted(rows, key=lambda row: row[0])))
        kept.append([one for one in made if (tick, one.agent, one.nth) not in refused])
    world, other = ward(7)
    for made in kept:
        assert not world.resolve(made).refused
    assert other.digest() == part.digest()


def test_the_check_of_what_is_hidden_sees_a_leak(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Sitting, "tell", lambda self, facts: ("", [self.reveal(1, 0)]))
    _, part, story = played([[(3, ("cases.tell", {"facts": {}}))]])
    with pytest.raises(KeyError):
        check_hidden(story, part)


def test_refusals_say_why_in_a_word():
    world, _ = ward(budget=3.0, holders=None, series=1)
    refused = [
        (world.resolve(acts((0, f"cases.{kind}", args))).refused or [(None, "")])[0][1]
        for kind, args in [
            ("ask", {"question": "weather"}), ("ask", {"question": "pulse"}), ("ask", {"question": "site"}),
            ("order", {"question": "blood"}), ("ask", {"question": "pain"}), ("ask", {"question": "pain"}),
            ("ask", {}), ("ask", {"question": "site"}), ("examine", {"question": "pulse"}),
            ("ask", {"question": "nights"}),
            ("answer", {"value": "mumps"}), ("answer", {"value": "flu"}), ("answer", {"value": "flu"}),
        ]
    ]  # fmt: skip
    assert refused == [
        "unknown_question", "wrong_act", "not_yet", "too_dear", "", "already_asked", "bad_arguments", "", "too_dear",
        "",
        "unknown_answer", "", "no_case",
    ]  # fmt: skip
    short, _ = ward(questions=1)
    resolved = short.resolve(acts(*[(0, "cases.examine", {"question": one}) for one in ("pulse", "pulse")]))
    assert [reason for _, reason in resolved.refused] == ["no_questions_left"]
    within, _ = ward(within_tick=True)
    assert within.resolve(acts((0, "cases.ask", {"question": "pain"}))).refused[0][1] == "in_rounds"
    assert not ward()[0].parts["cases"].groups(0)
    assert sorted(within.parts["cases"].groups(0)) == [0, 1, 2]


def test_a_holder_tells_what_it_is_asked_and_an_order_comes_later():
    world, part = ward(lag=2)
    holder, case = int(part.holders[0]), int(part.work.case[0])
    pain = ["present", "absent", "present"][case]
    asked = world.resolve(acts((0, "cases.ask", {"question": "pain"}), (0, "cases.order", {"question": "blood"})))
    assert asked.emissions == [(holder, {"asked": "pain", "facts": {"pain": pain}})]
    told = world.resolve(acts((holder, "cases.tell", {"facts": {"pain": "present"}, "say": "ouch"})))
    heard = {"told": [{"key": "pain", "words": "it hurts", "level": "present"}], "left": 2, "said": "ouch"}
    assert told.emissions == [(0, heard)]
    assert look(world, "cases.chart")["known"]["pain"] == "present"
    assert look(world, "cases.public", 1, of=0) == {"pain": "present"}
    assert isinstance(look(world, "cases.public", 1, of=99), LookFailed)
    assert [heard_of(body)[0]["key"] for _, body in world.resolve([]).emissions] == ["blood"]
    assert part.work.stage[0, 2] == HIDDEN
    assert part.work.stage[0, 5] == KNOWN


def test_cases_are_dealt_equally_and_no_seat_is_favoured():
    seen = np.zeros((3, 3))
    for seed in range(300):
        dealer = Dealer(Draws(seed), "deal", 3, 3)
        for rank in range(3):
            seen[rank, dealer.thing(0, rank)] += 1
    assert np.all(np.abs(seen - 100) < 35)
    dealer = Dealer(Draws(1), "deal", 5, 2)
    dealt = [dealer.thing(nth, rank) for nth in range(10) for rank in range(2)]
    assert np.bincount(dealt).tolist() == [4] * 5


def test_kappa_is_the_published_example_and_its_ends():
    table = np.array([[20, 5], [10, 15]])
    assert cohen_kappa(table) == pytest.approx(0.4)
    assert cohen_kappa(np.diag([3, 4])) == 1.0
    assert cohen_kappa(np.array([[5, 0], [0, 0]])) == 1.0
    assert cohen_kappa(np.array([[1, 1], [1, 1]])) == pytest.approx(0.0)
    assert np.isnan(cohen_kappa(np.zeros((2, 2))))
    graded = np.array([[5, 3, 0], [1, 5, 2], [0, 1, 5]])
    assert cohen_kappa(graded, "quadratic") > cohen_kappa(graded, "linear") > cohen_kappa(graded)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: CaseSet(FACTS, {"pain": ["sore"] * 3}, ["flu"], ["flu"] * 3), "'pain' has 'sore'.*present, absent"),
        (lambda: CaseSet(FACTS, {"pain": ["present"]}, ["flu"], ["flu"] * 3), "1 values of 'pain' for 3 cases"),
        (lambda: CaseSet(FACTS, {"mood": []}, ["flu"], ["flu"]), r"\['mood'\], which no Fact declares"),
        (lambda: CaseSet([Fact(key="a", after=("b",))], {}, ["x"], ["x"]), "after names 'b'"),
        (lambda: CaseSet([Fact(key="a", words={"maybe": "?"})], {}, ["x"], ["x"]), "keyed by its levels"),
        (lambda: Cases(CASES, questions=-1), "at least 0"),
        (lambda: ward(holders=[3]), "1 holders for 3 solvers"),
        (lambda: ward(solvers=[0, 0]), "different agents' ids"),
        (lambda: Criterion(name="tone", scale=("good",)), "two different marks"),
    ],
)
def test_what_cannot_be_is_told(made: Any, said: str):
    with pytest.raises(ScenarioError, match=said):
        made()


def test_a_network_gives_cases_by_exactly_one_disorder():
    net = BayesNet(
        {"a": ("yes", "no"), "b": ("yes", "no"), "f": ("yes", "no")},
        {"f": ("a", "b")},
        {"a": [0.3, 0.7], "b": [0.5, 0.5], "f": [[[0.9, 0.1], [0.8, 0.2]], [[0.4, 0.6], [0.1, 0.9]]]},
    )
    sample = net.sample(4000, Draws(2))
    assert np.mean(sample["f"] == 0) == pytest.approx(0.3 * 0.85 + 0.7 * 0.25, abs=0.03)
    found = CaseSet.from_network(net, {"a": "yes", "b": "yes"}, sample, [Fact(key="f", levels=("yes", "no"))])
    assert 0.45 < len(found) / 4000 < 0.55
    single = CaseSet.from_network(net, "a", sample, [Fact(key="f", levels=("yes", "no"))])
    assert len(single) == 4000
    again = BayesNet.from_json(net.to_json())
    assert all(np.array_equal(again.tables[one], net.tables[one]) for one in net.levels)


@pytest.mark.parametrize(
    ("levels", "parents", "tables", "said"),
    [
        ({"a": ("x", "y")}, {"a": ("b",)}, {"a": [0.5, 0.5]}, "parent 'b', which is no variable"),
        ({"a": ("x", "y")}, {}, {"a": [0.5, 0.2]}, "sums to 1"),
        ({"a": ("x", "y")}, {}, {"a": [1.0]}, r"shape \(1,\).*\(2,\)"),
        ({"a": ("x",), "b": ("y",)}, {"a": ("b",), "b": ("a",)}, {"a": [[1.0]], "b": [[1.0]]}, "own ancestors"),
    ],
)
def test_a_network_that_is_none_is_told(levels: Any, parents: Any, tables: Any, said: str):
    with pytest.raises(ScenarioError, match=said):
        BayesNet(levels, parents, tables)


def test_a_network_is_read_from_bif_and_its_evidence_is_checked():
    text = """network n { } variable a { type discrete [ 2 ] { yes, no }; }
    variable b { type discrete [ 2 ] { hi, lo }; }
    probability ( a ) { table 0.2, 0.8; } probability ( b | a ) { (yes) 0.9, 0.1; (no) 0.0, 1.0; }"""
    net = BayesNet.from_bif(text)
    assert net.posterior("a", {"b": "lo"}) == pytest.approx([0.02 / 0.82, 0.8 / 0.82])
    assert net.posterior("b", {"b": "lo"}).tolist() == [0.0, 1.0]
    with pytest.raises(ScenarioError, match="probability 0"):
        BayesNet.from_bif(text.replace("0.9, 0.1", "0.0, 1.0")).posterior("a", {"b": "hi"})
    with pytest.raises(ScenarioError, match="no level 'maybe'"):
        net.posterior("a", {"b": "maybe"})


SAID = st.lists(
    st.tuples(
        st.one_of(
            st.none(),
            st.fixed_dictionaries({"ask": st.sampled_from(QUESTIONS)}),
            st.fixed_dictionaries({"examine": st.sampled_from(QUESTIONS)}),
            st.fixed_dictionaries({"order": st.sampled_from(QUESTIONS)}),
            st.fixed_dictionaries({"answer": st.sampled_from(["flu", "no"])}),
            st.just("hello"),
        ),
        st.one_of(
            st.none(),
            st.fixed_dictionaries(
                {
                    "tell": st.dictionaries(st.sampled_from(["pain", "site", "blood"]), st.just("present")),
                    "say": st.text(),
                }
            ),
        ),
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(SAID)
def test_rounds_pass_on_what_was_asked_and_nothing_else(said: list[Any]):
    _, part = ward(within_tick=True)
    sitting = part._sitting(0)
    asked: set[str] = set()
    leaks = 0
    for solver, holder in said:
        if holder is not None and set(holder["tell"]) - asked:
            leaks += 1
        to_solver, to_holder = sitting.exchange(solver, holder)
        for one in to_solver.get("told", []):
            assert one["key"] in asked
            asked.remove(one["key"])
        assert all(one["key"] == "pulse" for one in to_solver.get("found", []))
        asked |= {key for key in to_holder.get("facts", {}) if key in ("pain", "site", "sweat")}
        assert to_solver["left"] == sitting.left
        assert sitting.left >= 0
        assert sitting.spent <= 8.0
    assert sitting.leaks == leaks


def test_a_quiz_of_rows_is_judged_by_rule_and_scored():
    facts = [Fact(key="clue", levels=("wings", "fins"))]
    quiz = CaseSet.from_rows(facts, [{"clue": "wings", "truth": "bird"}, {"truth": "fish"}], ["bird", "fish"])
    quick = Criterion(name="quick", scale=("slow", "quick"), rule=lambda report: ("quick", "slow")[report["questions"]])
    part = Cases(quiz, rubric=[quick], questions=1, series=2, feedback=True)
    world = opened(1, part)
    assert look(world, "cases.kappa", criterion="quick") is None
    resolved = world.resolve(acts((0, "cases.ask", {"question": "clue"}), (0, "cases.answer", {"value": "bird"})))
    (_, heard), (_, ended) = resolved.emissions
    assert heard["told"][0]["level"] == {"bird": "wings", "fish": None}[ended["truth"]]
    assert look(world, "cases.score") == {
        "answered": 1.0, "correct": float(ended["truth"] == "bird"), "questions": 1.0, "spent": 0.0,
    }  # fmt: skip
    world.apply(acts((0, "cases.answer", {"value": "fish"})))
    asyncio.run(part.consult(None))
    assert part.scores["quick"].tolist() == [[0, 0], [0, 1]]
    assert look(world, "cases.kappa", criterion="quick") == 1.0
    assert isinstance(look(world, "cases.kappa", criterion="tone"), LookFailed)
