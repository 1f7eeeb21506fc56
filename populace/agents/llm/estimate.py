"""What a full run will come to, from a pilot: calls, tokens, money and time, each with an interval.

Method. The pilot's turns are taken as a sample of the run's turns: m of them, with mean x and standard deviation s of
what one turn costs. The run's N turns then cost N x, and their sum lies, with the stated confidence, in

    N x  +/-  t(m - 1) * s * N * sqrt(1 / m + 1 / N)

the prediction interval for the mean of N future observations (Hahn and Meeker, "Statistical Intervals", 1991, section
4.7; t is Student's quantile). Where turns come in clusters (agents, whose turns are alike), s / sqrt(m) is too small:
the spread is then taken between the clusters' means, with m the number of clusters. Whether the run has N turns is
itself uncertain; `turns_low` and `turns_high` widen the interval.

What no interval from a pilot can tell is what the pilot has not seen: prompts that grow as memories fill. So the trend
of tokens in over the pilot's ticks is fitted by least squares (Theil-Sen would need more ticks than a pilot has), and
where it rises by more than chance, the upper ends follow it to the last tick and `notes` says so.

Time is the slowest of three bottlenecks, none of which another one hides: permits (calls * latency / concurrency),
the account's limits per minute, and the chain of ticks (each at least as long as its turns' asks, one after another).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from statistics import NormalDist, fmean

import msgspec

from populace.agents.llm.budget import Rate


class Used(msgspec.Struct, frozen=True):
    """What one turn of the pilot spent on asks of one purpose; repairs and retries are calls, too."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


class Turn(msgspec.Struct, frozen=True):
    """One turn of the pilot: whose, when, and what it used by purpose (none for a purpose that it did not ask)."""

    agent: int
    tick: int
    used: Mapping[str, Used] = {}


class Plan(msgspec.Struct, frozen=True):
    """The full run: its turns (agents times ticks times the share that is due), and what it runs on.

    `turns_low` and `turns_high` bound the turns where they are not certain. `latency_s` is a call's mean latency;
    limits are per minute, None where there is none.
    """

    turns: float
    ticks: int
    rate: Rate = Rate()
    concurrency: int = 1
    latency_s: float = 0.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    turns_low: float | None = None
    turns_high: float | None = None


class Interval(msgspec.Struct, frozen=True):
    """An estimate and the interval around it; low is never below 0."""

    low: float
    mid: float
    high: float

    def times(self, factor: float) -> Interval:
        """In another unit."""
        return Interval(self.low * factor, self.mid * factor, self.high * factor)


class Purposed(msgspec.Struct, frozen=True):
    """The part of one purpose."""

    calls: Interval
    tokens_in: Interval
    tokens_out: Interval
    usd: Interval


class Estimate(msgspec.Struct, frozen=True):
    """What the full run will come to. `bottleneck` names what decides the time; `notes` are sentences for people."""

    calls: Interval
    tokens_in: Interval
    tokens_out: Interval
    usd: Interval
    wall_s: Interval
    bottleneck: str
    purposes: dict[str, Purposed]
    pilot_turns: int
    clusters: int
    confidence: float
    method: str
    notes: list[str]


def estimate(pilot: Sequence[Turn], plan: Plan, confidence: float = 0.9) -> Estimate:
    """Estimate a run from a pilot's turns, those without any ask included.

    Raises ValueError for a pilot of fewer than two turns or agents, a plan without turns or ticks, or a confidence
    outside (0, 1).
    """
    clusters = len({turn.agent for turn in pilot})
    if len(pilot) < 2 or clusters < 2:
        raise ValueError(f"a pilot needs two or more agents to tell a spread, got {len(pilot)} turns of {clusters}")
    if not (0.0 < confidence < 1.0 and plan.turns > 0 and plan.ticks > 0 and plan.concurrency > 0):
        raise ValueError(f"confidence must be in (0, 1), turns, ticks and concurrency above 0: {confidence}, {plan}")
    growth = _growth(pilot, plan.ticks)
    agents = [turn.agent for turn in pilot]

    def whole(columns: Sequence[Used], figure: str) -> Interval:
        values = [_figure(used, figure, plan.rate) for used in columns]
        interval = _total(values, agents, plan, confidence)
        grown = growth if figure in {"tokens_in", "usd"} else 1.0
        return Interval(interval.low, interval.mid, interval.high * grown)

    names = sorted({name for turn in pilot for name in turn.used})
    none = Used()
    by_purpose = {name: [turn.used.get(name, none) for turn in pilot] for name in names}
    sums = [_sum(turn.used) for turn in pilot]
    purposes = {
        name: Purposed(*(whole(columns, figure) for figure in ("calls", "tokens_in", "tokens_out", "usd")))
        for name, columns in by_purpose.items()
    }
    calls, tokens_in, tokens_out = (whole(sums, figure) for figure in ("calls", "tokens_in", "tokens_out"))
    depth = fmean([used.calls for used in sums if used.calls] or [0.0])
    times = [
        _wall(plan, getattr(calls, end), getattr(tokens_in, end) + getattr(tokens_out, end), depth)
        for end in ("low", "mid", "high")
    ]
    return Estimate(
        calls,
        tokens_in,
        tokens_out,
        whole(sums, "usd"),
        Interval(*(seconds for seconds, _ in times)),
        times[1][1],
        purposes,
        len(pilot),
        clusters,
        confidence,
        f"{confidence:.0%} prediction interval for the sum of {plan.turns:,.0f} turns from a pilot of {len(pilot)} "
        f"turns of {clusters} agents (Hahn and Meeker 1991, section 4.7)",
        _notes(pilot, plan, growth, clusters),
    )


def _figure(used: Used, figure: str, rate: Rate) -> float:
    if figure == "usd":
        return rate.cost(used.tokens_in, used.tokens_out).usd
    return float(getattr(used, figure))


def _sum(used: Mapping[str, Used]) -> Used:
    parts = used.values()
    return Used(
        sum(part.calls for part in parts), sum(part.tokens_in for part in parts), sum(part.tokens_out for part in parts)
    )


def _total(values: Sequence[float], agents: Sequence[int], plan: Plan, confidence: float) -> Interval:
    """The sum over the run's turns; the wider of the spread between turns and that between agents' means."""
    mean = fmean(values)
    turns_low = plan.turns if plan.turns_low is None else plan.turns_low
    turns_high = plan.turns if plan.turns_high is None else plan.turns_high
    grouped: dict[int, list[float]] = defaultdict(list)
    for agent, value in zip(agents, values, strict=True):
        grouped[agent].append(value)
    of_mean = max(_half(values, confidence), _half([fmean(group) for group in grouped.values()], confidence))
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    of_rest = student(confidence, len(values) - 1) * deviation / math.sqrt(plan.turns)
    half = math.hypot(of_mean, of_rest)
    return Interval(max(0.0, mean - half) * turns_low, mean * plan.turns, (mean + half) * turns_high)


def _half(values: Sequence[float], confidence: float) -> float:
    n, mean = len(values), fmean(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return student(confidence, n - 1) * deviation / math.sqrt(n)


@lru_cache(maxsize=256)
def student(confidence: float, freedom: int) -> float:
    """The two-sided quantile of Student's t: |t| stays below it with this probability.

    Exact for one and two degrees of freedom; else bisection of the distribution function's finite series (Abramowitz
    and Stegun 1964, 26.7.3 and 26.7.4), and beyond 200 the expansion 26.7.5.
    """
    if freedom > 200:
        z = NormalDist().inv_cdf(0.5 + confidence / 2)
        return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    low, high = 0.0, 1.0
    while _within(high, freedom) < confidence:
        low, high = high, high * 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < confidence else (low, middle)
    return high


def _within(t: float, freedom: int) -> float:
    """P(|T| < t) for Student's T."""
    angle = math.atan2(t, math.sqrt(freedom))
    cosine2 = math.cos(angle) ** 2
    odd = freedom % 2
    term = total = (math.cos(angle) if freedom > 1 else 0.0) if odd else 1.0
    for k in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine2 * (k - 1) / k
        total += term
    return (angle + math.sin(angle) * total) * 2 / math.pi if odd else math.sin(angle) * total


def _growth(pilot: Sequence[Turn], ticks: int) -> float:
    """By what factor tokens in may exceed the pilot's mean if they go on rising as in the pilot; 1.0 without a rise."""
    by_tick: dict[int, list[float]] = defaultdict(list)
    for turn in pilot:
        used = _sum(turn.used)
        if used.calls:
            by_tick[turn.tick].append(used.tokens_in / used.calls)
    xs = [float(tick) for tick, values in by_tick.items() for _ in values]
    ys = [value for values in by_tick.values() for value in values]
    if len(by_tick) < 3 or len(ys) < 6:
        return 1.0
    x, y = fmean(xs), fmean(ys)
    sxx = math.fsum((a - x) ** 2 for a in xs)
    slope = math.fsum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sxx
    rest = math.fsum((b - y - slope * (a - x)) ** 2 for a, b in zip(xs, ys, strict=True))
    error = math.sqrt(rest / (len(ys) - 2) / sxx)
    if slope <= 2.0 * error or y <= 0.0:
        return 1.0
    middle = min(xs) + (ticks - 1) / 2
    return max(1.0, 1.0 + slope * (middle - x) / y)


def _wall(plan: Plan, calls: float, tokens: float, depth: float) -> tuple[float, str]:
    times = {
        "concurrency": calls * plan.latency_s / plan.concurrency,
        "ticks": plan.ticks * depth * plan.latency_s,
        "requests per minute": 60.0 * calls / plan.requests_per_minute if plan.requests_per_minute else 0.0,
        "tokens per minute": 60.0 * tokens / plan.tokens_per_minute if plan.tokens_per_minute else 0.0,
    }
    bottleneck = max(times, key=lambda name: times[name])
    return times[bottleneck], bottleneck


def _notes(pilot: Sequence[Turn], plan: Plan, growth: float, clusters: int) -> list[str]:
    notes = []
    ticks = len({turn.tick for turn in pilot})
    if growth > 1.0:
        notes.append(
            f"Prompts grew during the pilot. If they go on so for {plan.ticks} ticks, the run reads {growth:.1f} times "
            f"the tokens that the pilot's mean suggests: the upper ends allow for it. A cap on memory keeps it down."
        )
    elif ticks < 3 < plan.ticks:
        notes.append(
            f"The pilot saw {ticks} of {plan.ticks} ticks, too few to tell whether prompts grow as memories fill. "
            f"A pilot of three ticks or more does."
        )
    if clusters < 10:
        notes.append(f"The pilot had {clusters} agents: with ten or more the interval is much narrower.")
    if plan.rate == Rate():
        notes.append("No price is known for this model (model.prices), so money is 0.")
    return notes
