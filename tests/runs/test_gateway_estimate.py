"""Estimates: right on average, as often within their interval as they say, and aware of growing prompts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from populace.budget.amounts import Rate
from populace.core.draws import Stream
from populace.runs.prediction import Estimate, PilotTurn, Plan, Used, estimate, student

RATE = Rate.of(1.0, 2.0)


def society(seed: int, agents: int, ticks: int, alike: float = 0.0, growth: float = 0.0) -> list[PilotTurn]:
    """Turns that talk always and vote now and then; with `alike`, an agent's turns resemble each other."""
    turns = []
    for agent in range(agents):
        own = Stream(seed, agent, -2, "own").normal()
        for tick in range(ticks):
            draw = Stream(seed, agent, tick, "turn")
            spread = alike * own + (1 - alike) * draw.normal()
            talk = Used(1 + draw.integer(2), int(max(20, 300 + 60 * spread + growth * tick)), 10 + draw.integer(40))
            vote = {"vote": Used(1, 100 + draw.integer(50), 5)} if draw.bernoulli(0.3) else {}
            turns.append(PilotTurn(agent, tick, {"talk": talk, **vote}))
    return turns


def truth(turns: list[PilotTurn], figure: str) -> float:
    used = [part for turn in turns for part in turn.used.values()]
    if figure == "usd":
        return sum(RATE.cost(part.tokens_in, part.tokens_out).usd for part in used)
    return float(sum(getattr(part, figure) for part in used))


FIGURES = ("calls", "tokens_in", "tokens_out", "usd")


def coverage(alike: float, agents: int, blind: bool = False) -> dict[str, float]:
    """How often the truth of a run of 100 agents and 10 ticks lies in the interval of a pilot of other seeds."""
    hits = dict.fromkeys(FIGURES, 0)
    rounds = 100
    for seed in range(rounds):
        pilot = society(1000 + seed, agents, 5, alike)
        if blind:
            pilot = [PilotTurn(nth, turn.tick, turn.used) for nth, turn in enumerate(pilot)]
        run = society(5000 + seed, 100, 10, alike)
        guess = estimate(pilot, Plan(1000, 10, RATE), confidence=0.9)
        for figure in FIGURES:
            interval = getattr(guess, figure)
            hits[figure] += interval.low <= truth(run, figure) <= interval.high
    return {figure: hit / rounds for figure, hit in hits.items()}


def test_the_interval_holds_as_often_as_it_says() -> None:
    for figure, share in coverage(alike=0.0, agents=8).items():
        assert 0.82 <= share <= 0.995, figure


def test_agents_whose_turns_are_alike() -> None:
    """A run has its own 100 agents, so their spread is in the truth as well; a little under 90 % is expected."""
    assert coverage(alike=0.9, agents=12)["tokens_in"] >= 0.82


def test_control_taking_alike_turns_for_independent_is_too_sure() -> None:
    assert coverage(alike=0.9, agents=12, blind=True)["tokens_in"] < 0.75


def test_parts_add_up_and_more_pilot_is_narrower() -> None:
    guess = estimate(society(1, 20, 5), Plan(10_000, 100, RATE))
    for figure in FIGURES:
        parts = sum(getattr(part, figure).mid for part in guess.purposes.values())
        assert parts == pytest.approx(getattr(guess, figure).mid)
        assert getattr(guess, figure).low < getattr(guess, figure).mid < getattr(guess, figure).high
    assert guess.usd.mid == pytest.approx(guess.tokens_in.mid * 1e-6 + guess.tokens_out.mid * 2e-6)
    wider = estimate(society(1, 5, 5), Plan(10_000, 100, RATE))
    assert wider.usd.high - wider.usd.low > guess.usd.high - guess.usd.low
    unsure = estimate(society(1, 20, 5), Plan(10_000, 100, RATE, turns_low=5000, turns_high=20_000))
    assert unsure.calls.low == pytest.approx(guess.calls.low / 2)
    assert unsure.calls.high == pytest.approx(guess.calls.high * 2)
    assert "Hahn" in guess.method
    assert guess.calls.times(2.0).mid == 2 * guess.calls.mid


def test_prompts_that_grow_are_noticed() -> None:
    plan = Plan(20 * 60, 60, RATE)
    growing = estimate(society(3, 20, 6, growth=20.0), plan)
    real = truth(society(4, 20, 60, growth=20.0), "tokens_in")
    assert growing.tokens_in.mid < 0.7 * real, "the pilot's mean alone is far too low"
    assert growing.tokens_in.low <= real <= growing.tokens_in.high
    assert "grew" in growing.notes[0]
    level = estimate(society(3, 20, 6), plan)
    assert [note for note in level.notes if "saw no growth" not in note] == []
    assert "too few" in estimate(society(3, 20, 2), plan).notes[0]


@pytest.mark.parametrize(
    ("more", "bottleneck"),
    [
        ({"concurrency": 10}, "concurrency"),
        ({"concurrency": 10_000}, "ticks"),
        ({"concurrency": 10_000, "requests_per_minute": 60.0}, "requests per minute"),
        ({"concurrency": 10_000, "tokens_per_minute": 1000.0, "requests_per_minute": 1e6}, "tokens per minute"),
    ],
)
def test_time_is_the_slowest_bottleneck(more: dict[str, float], bottleneck: str) -> None:
    guess = estimate(society(1, 20, 5), Plan(10_000, 100, RATE, latency_s=0.5, **more))  # type: ignore[arg-type]
    assert guess.bottleneck == bottleneck
    expected = {
        "concurrency": guess.calls.mid * 0.5 / 10,
        "requests per minute": guess.calls.mid,
        "tokens per minute": (guess.tokens_in.mid + guess.tokens_out.mid) * 0.06,
    }
    assert guess.wall_s.mid == pytest.approx(expected.get(bottleneck, guess.wall_s.mid))
    assert guess.wall_s.mid >= 100 * 0.5, "a tick is at least one call long"


@given(st.integers(1, 400), st.floats(0.05, 0.999))
def test_students_quantile(freedom: int, confidence: float) -> None:
    assert student(confidence, freedom) == pytest.approx(stats.t.ppf(0.5 + confidence / 2, freedom), rel=1e-4)


def test_turns_without_asks_count_and_nonsense_is_an_error() -> None:
    quiet: Estimate = estimate([PilotTurn(0, 0), PilotTurn(1, 0)], Plan(100, 10))
    assert (quiet.calls.high, quiet.wall_s.high, quiet.purposes) == (0.0, 0.0, {})
    assert any("price" in note for note in quiet.notes)
    half = estimate([PilotTurn(n, 0, {"a": Used(1, 10, 1)} if n % 2 else {}) for n in range(20)], Plan(100, 1))
    assert half.calls.mid == 50
    for pilot, plan, confidence in (
        ([PilotTurn(0, 0)], Plan(1, 1), 0.9),
        ([PilotTurn(0, 0), PilotTurn(0, 1)], Plan(1, 1), 0.9),
        ([PilotTurn(0, 0), PilotTurn(1, 0)], Plan(0, 1), 0.9),
        ([PilotTurn(0, 0), PilotTurn(1, 0)], Plan(1, 1), 1.0),
    ):
        with pytest.raises(ValueError, match=r"pilot|confidence"):
            estimate(pilot, plan, confidence)
