"""Surrogates: what is fitted is exact and right, the audit keeps its level and sees a shift, trust is withdrawn."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from populace.agents.answers import Choice, Chosen, compile_answer
from populace.agents.surrogate import audit as audits
from populace.agents.surrogate.audit import STAKES, Audit
from populace.agents.surrogate.facts import encode_facts
from populace.agents.surrogate.logit import exponential, fit_logit, softmax
from populace.agents.surrogate.policy import UNIT, Observed, Policy
from populace.agents.surrogate.surrogate import Surrogate
from populace.agents.surrogate.table import Table, fit_table
from populace.core.draws import Stream
from populace.core.records import Answer, Ask
from populace.kernel.standing_in import Standing, StandIns, pack_standing, shares_of, unpack_standing

FACTS = [f'{{"age":{age},"job":"{job}"}}' for age in (20, 40, 60) for job in ("farmer", "nurse")]


def known(facts: str) -> float:
    """With what probability the model says yes: logistic in the age, with another intercept for nurses."""
    told = msgspec.json.decode(facts)
    return float(1.0 / (1.0 + np.exp(-(told["age"] - 40) / 15.0 - (told["job"] == "nurse"))))


def answers(n: int, seed: int = 3) -> list[tuple[str, dict[str, int]]]:
    draw, rows = Stream(seed, 0, 0, "answers"), []
    for _ in range(n):
        facts = draw.choice(FACTS)
        rows.append((facts, {"yes" if draw.random() < known(facts) else "no": UNIT}))
    return rows


def test_the_exponential_and_softmax_are_right() -> None:
    x = np.linspace(-40.0, 0.0, 4001)
    assert np.allclose(exponential(x), np.exp(x), rtol=1e-13)
    scores = np.array([[1.0, 2.0, 3.0], [-800.0, 0.0, 0.0]])
    assert np.allclose(softmax(scores).sum(axis=1), 1.0)
    assert softmax(scores)[1].tolist()[1:] == [0.5, 0.5]


def test_a_logit_finds_the_known_function_also_between_what_it_has_seen() -> None:
    fit = fit_logit(answers(4000))
    assert fit is not None
    unseen = '{"age":50,"job":"nurse"}'
    for facts in (*FACTS, unseen):
        q = fit.predict(facts)
        assert q is not None
        assert q["yes"] == pytest.approx(known(facts), abs=0.04)
    for other in ('{"age":50,"job":"king"}', '{"age":50}', '{"age":true,"job":"nurse"}', '{"age":"x","job":"nurse"}'):
        assert fit.predict(other) is None, "it answers nothing of another form"


def test_a_fit_is_one_to_the_bit_in_any_order_of_the_answers() -> None:
    rows = answers(600)
    assert fit_logit(rows) == fit_logit(rows[::-1])
    assert fit_table(rows, 10) == fit_table(rows[::-1], 10)


def test_control_plain_sums_are_others_in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(values: Any, axis: int) -> Any:
        total = values[0] * 0.0
        for row in values:
            total = total + row * 2.0**32
        return total

    rows = answers(600)
    monkeypatch.setattr("populace.agents.surrogate.logit._exact", plain)
    monkeypatch.setattr("populace.agents.surrogate.logit._GRID", 2.0**60)
    assert fit_logit(rows) != fit_logit(rows[::-1])


def test_a_table_says_what_was_answered_where_that_is_enough() -> None:
    rows = [(FACTS[0], {"yes": UNIT})] * 3 + [(FACTS[0], {"no": UNIT // 2, "yes": UNIT // 2})] + [(FACTS[1], {"no": 1})]
    fit = fit_table(rows, 4)
    assert fit is not None
    assert fit.predict(FACTS[0]) == {"no": 0.125, "yes": 0.875}
    assert fit.predict(FACTS[1]) is None
    assert fit_table(rows, 5) is None


@pytest.mark.parametrize(
    "sample", [['{"a":1}', '{"b":1}'], ['{"a":1}', '{"a":"x"}'], [f'{{"a":"{at}"}}' for at in range(70)]]
)
def test_facts_of_several_forms_and_texts_that_are_no_categories_are_not_read(sample: list[str]) -> None:
    assert encode_facts(sample) is None
    assert fit_logit([(facts, {"yes": UNIT}) for facts in sample]) is None


def alarm_share(off: float, runs: int = 150, asks: int = 150, level: float = 0.1) -> float:
    """Of how many audits the evidence ever reaches 1 / level, where the surrogate is `off` in total variation."""
    alarms = 0
    for seed in range(runs):
        audit, draw = Audit(0.1, ["no", "yes"]), Stream(seed, 0, 0, "audit")
        for _ in range(asks):
            p = 0.2 + 0.3 * draw.random()
            facts = f"{draw.integer(6)}"
            audit.take(facts, {"yes" if draw.random() < p else "no": UNIT}, {"yes": p + off, "no": 1.0 - p - off})
            if audit.evidence >= 1.0 / level:
                alarms += 1
                break
    return alarms / runs


def test_false_alarms_are_under_their_level_where_the_surrogate_keeps_to_the_tolerance() -> None:
    assert alarm_share(0.1) <= 0.1
    assert alarm_share(0.0) <= 0.1


def test_a_surrogate_that_is_far_off_is_found_out() -> None:
    assert alarm_share(0.45, runs=40) == 1.0


def test_control_without_the_tolerance_or_looking_at_the_answer_first_alarms_are_false(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gains = Audit._gains

    def peeking(self: Audit, facts: str, off: Any, q: Any) -> dict[str, float]:
        return {name: abs(gain) for name, gain in gains(self, facts, off, q).items()}

    monkeypatch.setattr(Audit, "_gains", peeking)
    assert alarm_share(0.1, runs=20) > 0.5


def test_evidence_is_a_fair_bet() -> None:
    """Over both answers the mean of the evidence after an ask is what it was before, at no tolerance."""
    audit = Audit(0.0, ["no", "yes"])
    draw = Stream(5, 0, 0, "fair")
    for _ in range(40):
        p = 0.2 + 0.6 * draw.random()
        q = {"no": 1.0 - p, "yes": p}
        after = []
        for label in ("no", "yes"):
            other = msgspec.msgpack.decode(msgspec.msgpack.encode(audit), type=Audit)
            other.take("x", {label: UNIT}, q)
            after.append(other.evidence)
        assert after[0] * (1 - p) + after[1] * p == pytest.approx(audit.evidence, rel=1e-9)
        audit.take("x", {"yes" if draw.random() < p else "no": UNIT}, q)
    assert max(STAKES) < 1.0
    assert audits.MAIN >= 2


def play(surrogate: Surrogate, ticks: range, chance: Any, per_tick: int = 100) -> tuple[int, int]:
    """Ticks of asks; gives how many the model and the surrogate answered."""
    asked = answered = 0
    for tick in ticks:
        observed = []
        for agent in range(per_tick):
            draw = Stream(11, agent, tick, "ask")
            facts = draw.choice(FACTS)
            q = None if surrogate.fit is None else surrogate.fit.predict(facts)
            if q is not None and draw.random() >= surrogate.policy.audit:
                answered += 1
                continue
            label = "yes" if draw.random() < chance(facts) else "no"
            observed.append(Observed(agent, 0, facts, {label: UNIT}, q is not None))
        surrogate.close(observed)
        asked += len(observed)
    return asked, answered


@pytest.mark.parametrize("kind", ["table", "logit"])
def test_trust_is_withdrawn_after_a_shift_and_won_again(kind: Any) -> None:
    """The model turns round; within 1,500 asks the audit withdraws trust, and a new fit is as good as before."""
    surrogate = Surrogate(Policy(kind=kind, sample=300, cell=20, audit=0.2, tolerance=0.15))
    asked, answered = play(surrogate, range(20), known)
    assert answered > 3 * asked - 1200
    assert surrogate.alarms == 0
    before = surrogate.limit
    play(surrogate, range(20, 35), lambda facts: 1.0 - known(facts))
    assert surrogate.alarms == 1
    assert surrogate.needed == 600, "the next fit takes twice as much"
    assert surrogate.limit == 3 * before, "so that all alarms of a run are false with the one level"
    play(surrogate, range(35, 50), lambda facts: 1.0 - known(facts))
    assert surrogate.fit is not None
    for facts in FACTS:
        q = surrogate.fit.predict(facts)
        assert q is not None
        assert q["yes"] == pytest.approx(1.0 - known(facts), abs=0.16)


def test_control_an_audit_that_never_counts_sees_no_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Audit, "take", lambda *_: None)
    surrogate = Surrogate(Policy(sample=300, cell=20, audit=0.2, tolerance=0.15))
    play(surrogate, range(35), lambda facts: 1.0 - known(facts))
    play(surrogate, range(35, 50), known)
    assert surrogate.alarms == 0


def test_what_is_trusted_does_not_change_but_for_facts_that_it_did_not_cover() -> None:
    surrogate = Surrogate(Policy(sample=60, cell=20, window=500))
    first = [Observed(at, 0, FACTS[at % 2], {"yes": UNIT}) for at in range(60)]
    surrogate.close(first)
    assert isinstance(surrogate.fit, Table)
    cells = dict(surrogate.fit.cells)
    assert set(cells) == set(FACTS[:2])
    surrogate.close([Observed(at, 0, FACTS[at % 3], {"no": UNIT}) for at in range(90)])
    assert {facts: surrogate.fit.cells[facts] for facts in cells} == cells
    assert set(surrogate.fit.cells) == set(FACTS[:3])
    packed = msgspec.msgpack.encode(surrogate)
    assert msgspec.msgpack.decode(packed, type=Surrogate) == surrogate, "as it comes back from a checkpoint"


def ask_of(answer: Any, facts: str = FACTS[0]) -> Ask:
    return Ask(4, 2, 0, "vote", (("user", "?"),), compile_answer(answer), 9, 0.0, b"k", facts, "", -1, True)


class Mood(msgspec.Struct):
    word: str


def test_what_an_answer_says_of_each_category() -> None:
    choice = ask_of(Choice("yes", "no"))
    plain = Answer(4, 2, 0, "answered", '{"label":"no"}')
    assert shares_of(choice, plain, Chosen("no")) == {"no": UNIT}
    assert shares_of(choice, plain, Chosen("no", {"yes": 0.5, "no": 1.5})) == {"no": 3 * UNIT // 4, "yes": UNIT // 4}
    spaced = Answer(4, 2, 0, "answered", '{ "word" : "calm" }')
    assert shares_of(ask_of(Mood), spaced, Mood("calm")) == {'{"word":"calm"}': UNIT}
    assert shares_of(ask_of(str), Answer(4, 2, 0, "answered", "Hm."), "Hm.") == {"Hm.": UNIT}


def test_who_stands_in_answers_by_draws_of_the_agents_own_and_leaves_what_it_does_not_know() -> None:
    fit = Table({FACTS[0]: {"no": UNIT, "yes": UNIT}})
    standing = unpack_standing(pack_standing(Standing(0.25, {"": {"vote": fit}})))
    answered: list[str] = []
    left = 0
    stand_ins = StandIns(7, None, standing)
    for agent in range(400):
        ask = ask_of(Choice("yes", "no"))
        ask.agent = agent
        taken = stand_ins.take(ask)
        left += taken is None
        if taken is not None:
            answered.append(taken[1].label)
            assert taken[0].settled == "surrogate"
            assert taken[0].calls == 0
        else:
            stand_ins.told(ask, Answer(agent, 2, 0, "answered", '{"label":"no"}'), Chosen("no"))
    assert 70 < left < 130, "a quarter is audited"
    assert 0.4 < answered.count("yes") / len(answered) < 0.6
    (learnt,) = stand_ins.learnt
    assert learnt.answered == len(answered)
    assert [one.audited for one in learnt.observed] == [True] * left
    assert stand_ins.take(ask_of(Choice("yes", "no"), FACTS[1])) is None, "other facts"
    assert stand_ins.take(ask_of(Choice("yes", "no"), "")) is None, "no facts"
    assert all(stand_ins.take(ask_of(Choice("up", "down"))) is None for _ in range(3)), "another type of answer"
    assert unpack_standing(pack_standing(Standing())) == Standing()
