"""Parts of a mind: each moves as its source says, stays within its range, and comes back as it was."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import faculties

from populace.core.draws import Stream
from populace.mind import (
    Attitude,
    DeltaTrust,
    Emotion,
    Experiences,
    Habits,
    Intensity,
    Need,
    Needs,
    Plan,
    Risk,
    Routine,
    Step,
    Trust,
)
from populace.testing import InvariantBroken, check_society

UNIT = st.floats(0.0, 1.0)
BOTH = st.floats(-1.0, 1.0)


def draws(seed: int = 3) -> Stream:
    return Stream(seed, 0, 0, "mind")


def test_a_society_of_whole_minds_is_one_run():
    check_society("tests/support/faculties.py", shards=(1, 3))


@pytest.mark.parametrize("field", ["trust", "attitude"])
def test_control_a_part_kept_elsewhere_is_seen(tmp_path, field):
    source = Path(faculties.__file__).read_text(encoding="utf-8")
    made = {"trust": "Trust(keep=0.9, most=4)", "attitude": "Attitude(0.3)"}[field]
    elsewhere = source.replace("class Person(", "KEPT: dict = {}\n\n\nclass Person(").replace(
        "        draw, hour =", f"        self.{field} = KEPT.setdefault(ctx.id, {made})\n        draw, hour =", 1
    )
    assert elsewhere.count("KEPT") == 2
    path = tmp_path / "elsewhere.py"
    path.write_text(elsewhere, encoding="utf-8")
    with pytest.raises(InvariantBroken, match="resume"):
        check_society(str(path), shards=(1,))


def test_needs_fall_with_time_and_the_most_basic_comes_first():
    needs = Needs(
        {"hunger": Need(fall_per_h=0.1), "social": Need(0.2, 0.05)}, {"feast": {"hunger": 0.4, "social": 0.3}}
    )
    assert needs.urgent() == "social"
    needs.pass_time(8.0)
    assert needs.urgent() == "hunger"
    assert needs.needs["hunger"].level == pytest.approx(0.2)
    assert needs.gain("feast") == pytest.approx(0.7)
    needs.use("feast", 3.0)
    assert needs.urgent() is None
    assert needs.gain("feast") == pytest.approx(0.1)
    assert needs.describe() == "hunger 1.00, social 0.90"


def test_emotion_is_moved_by_events_and_rests():
    emotion = Emotion()
    emotion.feel(-1.0, 1.0, 0.7)
    assert (emotion.level, emotion.describe()) == ("intense", "intense, feeling bad")
    emotion.pass_tick()
    assert emotion.valence == pytest.approx(-0.56)
    assert emotion.level == "moderate"
    for _ in range(40):
        emotion.pass_tick()
    assert emotion.level == "calm"
    assert abs(emotion.valence) < 1e-3


def test_intensity_rises_as_often_as_stimuli_say():
    draw, risen, fallen = draws(), 0, 0
    for _ in range(2000):
        one, other = Intensity(up=0.2), Intensity("intense", down=0.3)
        one.step(3, draw)
        other.step(0, draw)
        risen += one.level == "moderate"
        fallen += other.level == "moderate"
    assert risen / 2000 == pytest.approx(1 - 0.8**3, abs=0.04)
    assert fallen / 2000 == pytest.approx(0.3, abs=0.04)


def test_social_judgement_assimilates_ignores_and_contrasts():
    for said, met, moved in ((0.4, "accepted", 0.04), (0.8, "ignored", 0.0), (1.0, "rejected", -0.1)):
        attitude = Attitude(0.0, acceptance=0.5, rejection=0.9)
        assert attitude.judge(said) == met
        assert attitude.hear(said) == pytest.approx(moved)


def test_only_a_new_argument_moves_in_its_sign_scaled_by_fit():
    attitude = Attitude(0.0, acceptance=0.5, rejection=1.0, rate=0.1, remembers=2)
    assert attitude.weigh("jobs", 1.0, 0.3) == pytest.approx(0.1)
    assert attitude.weigh("jobs", 1.0, 0.3) == 0.0
    assert attitude.weigh("cost", -1.0, -0.65) == pytest.approx(-0.1 * 0.25 / 0.5)
    assert attitude.weigh("far", -1.0, -1.0) == 0.0
    assert attitude.arguments == ["cost", "far"]
    assert attitude.weigh("jobs", 1.0) > 0.0, "what is forgotten is new again"


@given(st.lists(st.tuples(BOTH, UNIT, st.floats(-50, 50)), max_size=30))
@settings(max_examples=30, deadline=None)
def test_what_is_bounded_stays_so(events):
    attitude, emotion, risk = Attitude(0.2), Emotion(), Risk(curvature=0.7)
    trust, delta = Trust(most=3), DeltaTrust(most=3)
    for at, (position, share, strength) in enumerate(events):
        attitude.hear(position, share)
        attitude.weigh(str(at), strength, position)
        emotion.feel(position, share, share)
        risk.warn(share, share)
        risk.resolve(strength > 0)
        trust.learn(at, share)
        delta.learn(at, share)
        assert len(trust.good) == len(trust.bad) <= 3
        assert len(delta.trust) <= 3
        assert -1.0 <= attitude.position <= 1.0
        assert -1.0 <= emotion.valence <= 1.0
        for value in (emotion.arousal, risk.probability, risk.perceived(), risk.belief_in_warnings):
            assert 0.0 <= value <= 1.0
        assert 0.0 < trust.of(at) < 1.0
    for part in (attitude, emotion, risk, trust, delta):
        again = msgspec.msgpack.decode(msgspec.msgpack.encode(part), type=type(part))
        assert again == part
        assert again.describe() == part.describe()


def test_a_plan_gives_way_to_what_is_put_into_it():
    plan = Routine([Step(9.0, 17.0, "work", "office"), Step(0.0, 7.0, "sleep")], {6: []}).plan(2)
    assert plan.at(9.0).what == "work"
    assert plan.at(8.0) is None
    assert plan.after(7.5).what == "work"
    assert not plan.free(16.0, 18.0)
    assert [one.what for one in plan.put(Step(12.0, 12.5, "lunch"))] == ["work"]
    assert plan.describe().split("\n")[1:] == [
        "09:00-12:00 work (office)", "12:00-12:30 lunch", "12:30-17:00 work (office)"
    ]  # fmt: skip
    assert Routine([Step(9.0, 17.0, "work")], {6: []}).plan(6).steps == []


@given(st.lists(st.tuples(st.integers(0, 46), st.integers(1, 12)), max_size=12))
@settings(max_examples=30, deadline=None)
def test_no_two_steps_of_a_plan_are_at_one_time(asked):
    plan = Plan()
    for at, (start, length) in enumerate(asked):
        step = Step(start / 2, min(start + length, 48) / 2, str(at))
        plan.put(step)
        assert plan.at(step.start) == step
        assert Plan(list(plan.steps)) == plan
        hours = [sum(one.start <= hour < one.end for one in plan.steps) for hour in np.arange(0.0, 24.0, 0.25)]
        assert max(hours) == 1


def reluctance(loss_aversion: float) -> float:
    """How often a bet of even gains and losses is taken rather than nothing, by who has learnt what it comes to."""
    draw, taken = draws(5), 0
    for _ in range(60):
        habits = Habits(loss_aversion=loss_aversion, rate=0.1)
        for _ in range(40):
            habits.learn("bet", draw.choice([-1.0, 1.0]))
            habits.learn("nothing", 0.0)
        taken += habits.choose(["bet", "nothing"], draw, 0.2) == "bet"
    return taken / 60


def test_losses_count_for_more_than_gains_and_without_aversion_they_do_not():
    assert reluctance(2.25) < 0.2
    assert 0.3 < reluctance(1.0) < 0.7


def test_habits_come_to_the_mean_outcome():
    habits = Habits(rate=0.05, loss_aversion=1.0, adapt=0.5)
    for _ in range(400):
        habits.learn("tram", 3.0)
    assert habits.reference == pytest.approx(3.0)
    assert abs(habits.value("tram")) < 1e-3, "what one is used to is neither gain nor loss"
    assert habits.best(["tram", "car"], draws()) in ("tram", "car")
    habits.learn("car", 5.0)
    assert {habits.best(["tram", "car"], draws(n)) for n in range(5)} == {"car"}
    assert {habits.best(["tram", "car"], draws(n), 1.0) for n in range(20)} == {"tram", "car"}


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=30), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_the_nearest_cases_are_the_nearest(rows, k):
    cases = Experiences(most=20, scales=[1.0, 2.0])
    for at, row in enumerate(rows):
        cases.add([float(one) for one in row], f"n{at}")
    kept = rows[-20:]
    wanted = sorted(range(len(kept)), key=lambda at: (kept[at][0] ** 2 + (kept[at][1] / 2) ** 2, -at))[:k]
    assert [at for at, _ in cases.nearest([0.0, 0.0], k)] == wanted
    votes = cases.vote([0.0, 0.0], k)
    assert sum(votes.values()) == pytest.approx(1.0)
    assert next(iter(votes.values())) == max(votes.values())
    assert cases.labels == [f"n{at}" for at in range(len(rows))][-20:]


def test_trust_is_the_mean_of_its_beta_and_forgets():
    trust = Trust()
    for outcome in (1.0, 1.0, 0.0):
        trust.learn("radio", outcome)
    assert trust.of("radio") == pytest.approx(3 / 5)
    assert trust.variance("radio") == pytest.approx(3 * 2 / (25 * 6))
    assert trust.of(7) == 0.5
    short, long = Trust(keep=0.5), Trust()
    for one in (short, long):
        for outcome in [1.0] * 10 + [0.0] * 3:
            one.learn(7, outcome)
    assert short.of(7) < 0.5 < long.of(7)
    delta = DeltaTrust(rate=0.5)
    delta.learn(7, 1.0)
    assert delta.of(7) == 0.75


def test_who_is_heard_least_is_forgotten_first():
    trust = Trust(most=2)
    for name in ("a", "a", "b", "c"):
        trust.learn(name, 1.0)
    assert set(trust.good) == {"a", "c"}


def protects_after(alarms: int, trust: float = 1.0) -> float:
    risk = Risk(severity=1.0)
    for _ in range(alarms):
        risk.warn(0.8)
        risk.resolve(came=False)
        risk.probability = 0.0
    risk.warn(0.8, trust)
    return risk.perceived()


def test_warnings_act_through_trust_and_false_alarms_wear_them():
    assert protects_after(0) == pytest.approx(0.4)
    assert protects_after(0, trust=0.25) == pytest.approx(0.1)
    assert protects_after(3) == pytest.approx(0.4 * 0.8**3)
    small, large = Risk(0.01, 1.0, curvature=0.65), Risk(0.9, 1.0, curvature=0.65)
    assert small.perceived() > 0.01
    assert large.perceived() < 0.9
    assert Risk(0.37, 1.0).perceived() == 0.37


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Need(level=2.0), "Need: level=2.0 has to be from 0 to 1"),
        (lambda: Needs().pass_time(-1.0), "hours=-1.0"),
        (lambda: Emotion(valence=float("nan")), "Emotion: valence=nan"),
        (lambda: Attitude(rejection=0.1), "Attitude: rejection=0.1 has to be from 0.5 to inf"),
        (lambda: Attitude().weigh("a", float("inf")), "strength=inf"),
        (lambda: Plan([Step(1.0, 3.0, "a"), Step(2.0, 4.0, "b")]), "'b' starts at 2 h, before 'a' has ended"),
        (lambda: Step(22.0, 6.0, "sleep"), "'sleep' ends at 6 h and starts at 22 h: split a night"),
        (lambda: Routine().plan(7), "weekday=7"),
        (lambda: Habits().learn("a", float("nan")), "payoff=nan"),
        (lambda: Habits().choose(["a"], draws(), 0.0), "temperature=0.0"),
        (lambda: Experiences(scales=[1.0]).add([1.0, 2.0], "a"), "2 features, where others have 1"),
        (lambda: Trust(a=0.0), "a=0.0"),
        (lambda: DeltaTrust().learn(1, 2.0), "outcome=2.0"),
        (lambda: Risk(curvature=0.0), "curvature=0.0"),
        (lambda: Intensity(up=1.5), "Intensity: up=1.5"),
    ],
)
def test_what_cannot_be_is_named(call, says):
    with pytest.raises(ValueError, match=says.replace("(", r"\(")):
        call()
