"""What a full run will come to, from a pilot: calls, tokens, money and time, each with an interval.

Method. The pilot's turns are taken as a sample of the run's turns: m of them, with mean x and standard deviation s of
what one turn costs. The run's N turns then cost N x, and their sum lies, with the stated confidence, in

    N x  +/-  t(m - 1) * s * N * sqrt(1 / m + 1 / N)

the prediction interval for the mean of N future observations (Hahn and Meeker, "Statistical Intervals", 1991, section
4.7; t is Student's quantile). Where turns come in clusters (agents, whose turns are alike), s / sqrt(m) is too small:
the spread is then taken between the clusters' means, with m the number of clusters. Turns that are all alike have no
spread, which proves little: what none of m turns did, 1 - (1 - confidence) ** (1 / m) of all turns may do (the "rule
of three"; Hanley and Lippman-Hand, JAMA 249, 1983), so the interval is at least as wide as if those cost nothing, or
twice as much. Whether the run has N turns is itself uncertain; `turns_low` and `turns_high` widen the interval.

The first ticks of a run are unlike the later ones: nobody has mail yet, and memories are empty. So `extrapolate` takes
the run's first ticks from the same ticks of the pilot, and all later ones from the later half of the pilot.

What no interval from a pilot can tell is what the pilot has not seen: prompts that grow as memories fill, or agents
that wake one another. So the trends over the pilot's ticks are fitted by least squares (Theil-Sen would need more ticks
than a pilot has), and where one rises or falls by more than chance, the ends of the intervals follow it to the last
tick and `notes` says so.

Time is the slowest of three bottlenecks, none of which another one hides: permits (calls * latency / concurrency),
the account's limits per minute, and the chain of ticks (each at least as long as its turns' asks, one after another).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace
from scipy.special import stdtrit

from populace.budget.amounts import Rate

End: TypeAlias = Literal["low", "mid", "high"]


class Used(msgspec.Struct, frozen=True):
    """What one turn of the pilot spent on asks of one purpose and model role; repairs and retries are calls, too."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    model_role: str = ""


class PilotTurn(msgspec.Struct, frozen=True):
    """One turn of the pilot: whose, when, and what it used by `part_name` (none for what it did not ask)."""

    agent: int
    tick: int
    used: Mapping[str, Used] = {}


class Interval(msgspec.Struct, frozen=True):
    """An estimate and the interval around it; low is never below 0."""

    low: float
    mid: float
    high: float

    def times(self, factor: float) -> Interval:
        """In another unit."""
        return Interval(self.low * factor, self.mid * factor, self.high * factor)

    def __add__(self, other: Interval) -> Interval:
        """For the sum of both, whatever they have to do with one another."""
        return Interval(self.low + other.low, self.mid + other.mid, self.high + other.high)


def part_name(purpose: str, model_role: str) -> str:
    """What the asks of a purpose are called in an estimate, where they name a model role."""
    return f"{purpose} ({model_role})" if model_role else purpose


class Bound(msgspec.Struct, frozen=True):
    """What holds back the calls of some model roles together ('' is the default one); None where nothing does."""

    roles: tuple[str, ...]
    concurrency: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


class Plan(msgspec.Struct, frozen=True):
    """The full run, or its ticks from `first_tick` on: its turns, and what it runs on.

    Turns are agents times ticks times the share that is due (or without that share, where the pilot holds turns that
    were not taken as well). `turns_low` and `turns_high` bound them where they are not certain. `agents`, when known,
    is over how many the run's own spread is taken. `latency_s` is a call's mean latency, between `latency_low_s` and
    `latency_high_s`; `chain_s` is how long a tick's slowest turn waits for the model; `tick_s` is what a tick
    takes besides. Limits are per minute, None where there is none.

    A purpose of which a larger run does not ask in proportion to its agents (five firms among any number of households)
    stands in `shares`, with the part of `turns` that its asks are to be taken for.

    `rates` are those of model roles, where they are not `rate`. Where `bounds` says what bounds which of them, the
    plan's own `concurrency` and limits bound nothing.
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
    agents: int | None = None
    first_tick: int = 0
    latency_low_s: float | None = None
    latency_high_s: float | None = None
    chain_s: Interval | None = None
    tick_s: Interval | None = None
    shares: Mapping[str, float] = {}
    rates: Mapping[str, Rate] = {}
    bounds: Sequence[Bound] = ()


class Purposed(msgspec.Struct, frozen=True):
    """The part of one purpose, and of the model role that its asks name ('' for the default one)."""

    calls: Interval
    tokens_in: Interval
    tokens_out: Interval
    usd: Interval
    model_role: str = ""

    def __add__(self, other: Purposed) -> Purposed:
        """Of two parts of a run."""
        return Purposed(
            self.calls + other.calls,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.usd + other.usd,
            self.model_role or other.model_role,
        )


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


def estimate(pilot: Sequence[PilotTurn], plan: Plan, confidence: float = 0.9) -> Estimate:
    """Estimate a run from a pilot's turns, those without any ask included.

    Raises ValueError for a pilot of fewer than two turns or agents, a plan without turns or ticks, or a confidence
    outside (0, 1).
    """
    clusters = len({turn.agent for turn in pilot})
    if len(pilot) < 2 or clusters < 2:
        raise ValueError(f"a pilot needs two or more agents to tell a spread, got {len(pilot)} turns of {clusters}")
    if not (0.0 < confidence < 1.0 and plan.turns > 0 and plan.ticks > 0 and plan.concurrency > 0):
        raise ValueError(f"confidence must be in (0, 1), turns, ticks and concurrency above 0: {confidence}, {plan}")
    agents = [turn.agent for turn in pilot]

    def whole(columns: Sequence[Sequence[Used]], figure: str, share: float = 1.0) -> Interval:
        values = [math.fsum(_figure(used, figure, plan) for used in turn) for turn in columns]
        interval = _total(values, agents, _part(plan, share), confidence)
        grown = _growth(pilot, values, plan)
        return Interval(interval.low * min(1.0, grown), interval.mid, interval.high * max(1.0, grown))

    names = sorted({name for turn in pilot for name in turn.used})
    none = Used()
    by_purpose = {name: [(turn.used.get(name, none),) for turn in pilot] for name in names}
    roles = {name: used.model_role for turn in pilot for name, used in turn.used.items()}
    sums = [_sum(turn.used) for turn in pilot]
    growing = [[used for name, used in turn.used.items() if name not in plan.shares] for turn in pilot]
    figures = ("calls", "tokens_in", "tokens_out", "usd")
    purposes = {
        name: _purposed([whole(columns, figure, plan.shares.get(name, 1.0)) for figure in figures], roles[name])
        for name, columns in by_purpose.items()
    }
    total = sum(
        (part for name, part in purposes.items() if name in plan.shares),
        start=_purposed([whole(growing, figure) for figure in figures]),
    )
    calls, tokens_in, tokens_out = total.calls, total.tokens_in, total.tokens_out
    depth = fmean([used.calls for used in sums if used.calls] or [0.0])
    ends: tuple[End, ...] = ("low", "mid", "high")
    times = [_wall(plan, end, [total] if not plan.bounds else [*purposes.values()], depth) for end in ends]
    return Estimate(
        calls,
        tokens_in,
        tokens_out,
        total.usd,
        Interval(*(seconds for seconds, _ in times)),
        times[1][1],
        purposes,
        len(pilot),
        clusters,
        confidence,
        f"{confidence:.0%} prediction interval for the sum of {plan.turns:,.0f} turns from a pilot of {len(pilot)} "
        f"turns of {clusters} agents (Hahn and Meeker 1991, section 4.7)",
        _notes(pilot, plan, [_figure(used, "tokens_in", plan) for used in sums], clusters),
    )


def extrapolate(pilot: Sequence[PilotTurn], plan: Plan, confidence: float = 0.9) -> Estimate:
    """Estimate a run from a pilot of its first ticks, which holds every agent in every tick, due or not.

    `plan.turns` is the run's agents times its ticks. The ticks that the pilot saw are estimated from what it saw in
    them, those that follow from its later half. Raises ValueError as `estimate` does.
    """
    seen = len({turn.tick for turn in pilot})
    if plan.ticks <= seen:
        same = [turn for turn in pilot if turn.tick < plan.ticks]
        return estimate(same, plan, confidence)
    a_tick = plan.turns / plan.ticks
    late = [turn for turn in pilot if turn.tick >= min(seen // 2, max(1, seen - 3))]
    first = estimate(pilot, replace(plan, turns=a_tick * seen, ticks=seen), confidence)
    left = plan.ticks - seen
    rest = estimate(late, replace(plan, turns=a_tick * left, ticks=left, first_tick=seen), confidence)
    nothing = Interval(0.0, 0.0, 0.0)
    none = Purposed(nothing, nothing, nothing, nothing)
    names = sorted({*first.purposes, *rest.purposes})
    # The ends are added as if both parts erred alike, as they do: their agents are the same.
    return Estimate(
        first.calls + rest.calls,
        first.tokens_in + rest.tokens_in,
        first.tokens_out + rest.tokens_out,
        first.usd + rest.usd,
        first.wall_s + rest.wall_s,
        max(first, rest, key=lambda part: part.wall_s.mid).bottleneck,
        {name: first.purposes.get(name, none) + rest.purposes.get(name, none) for name in names},
        len(pilot),
        first.clusters,
        confidence,
        f"{confidence:.0%} prediction intervals (Hahn and Meeker 1991, section 4.7) for the first {seen} ticks from "
        f"those of the pilot, and for the {left} that follow from its last {len({turn.tick for turn in late})}",
        list(dict.fromkeys(rest.notes)),
    )


def _purposed(figures: Sequence[Interval], model_role: str = "") -> Purposed:
    calls, tokens_in, tokens_out, usd = figures
    return Purposed(calls, tokens_in, tokens_out, usd, model_role)


def _part(plan: Plan, share: float) -> Plan:
    """The plan for a purpose that is asked in a part of the turns only."""
    if share == 1.0:
        return plan
    low, high = (None if bound is None else bound * share for bound in (plan.turns_low, plan.turns_high))
    agents = None if plan.agents is None else max(2, round(plan.agents * share))
    return replace(plan, turns=plan.turns * share, turns_low=low, turns_high=high, agents=agents)


def _figure(used: Used, figure: str, plan: Plan) -> float:
    if figure == "usd":
        return plan.rates.get(used.model_role, plan.rate).cost(used.tokens_in, used.tokens_out).usd
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
    of_rest = _half(values, confidence) * math.sqrt(len(values) / plan.turns)
    if plan.agents is not None:
        means = [fmean(group) for group in grouped.values()]
        of_rest = max(of_rest, _half(means, confidence) * math.sqrt(len(means) / plan.agents))
    unseen = mean * (1.0 - (1.0 - confidence) ** (1.0 / len(values)))
    half = math.hypot(max(of_mean, unseen), of_rest)
    return Interval(max(0.0, mean - half) * turns_low, mean * plan.turns, (mean + half) * turns_high)


def _half(values: Sequence[float], confidence: float) -> float:
    n, mean = len(values), fmean(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return student(confidence, n - 1) * deviation / math.sqrt(n)


def student(confidence: float, freedom: int) -> float:
    """The two-sided quantile of Student's t: |t| stays below it with this probability."""
    return float(stdtrit(freedom, 0.5 + confidence / 2))


def _growth(pilot: Sequence[PilotTurn], values: Sequence[float], plan: Plan) -> float:
    """By what factor a turn of the plan's ticks costs more than the pilot's mean if the pilot's trend goes on.

    1.0 where the trend is no more than chance (two standard errors) or the pilot has fewer than three ticks.
    """
    xs = [float(turn.tick) for turn in pilot]
    if len(set(xs)) < 3 or len(xs) < 6:
        return 1.0
    x, y = fmean(xs), fmean(values)
    sxx = math.fsum((a - x) ** 2 for a in xs)
    slope = math.fsum((a - x) * (b - y) for a, b in zip(xs, values, strict=True)) / sxx
    rest = math.fsum((b - y - slope * (a - x)) ** 2 for a, b in zip(xs, values, strict=True))
    error = math.sqrt(rest / (len(xs) - 2) / sxx)
    if abs(slope) <= 2.0 * error or y <= 0.0:
        return 1.0
    middle = plan.first_tick + (plan.ticks - 1) / 2
    return max(0.0, 1.0 + slope * (middle - x) / y)


def _wall(plan: Plan, end: End, parts: Sequence[Purposed], depth: float) -> tuple[float, str]:
    ends = {"low": plan.latency_low_s, "mid": None, "high": plan.latency_high_s}
    given_s = ends[end]
    latency_s = plan.latency_s if given_s is None else given_s
    chain_s = depth * latency_s if plan.chain_s is None else float(getattr(plan.chain_s, end))
    own_s = 0.0 if plan.tick_s is None else plan.ticks * float(getattr(plan.tick_s, end))
    times = {"ticks": plan.ticks * chain_s, "this machine": own_s}
    limits = plan.requests_per_minute, plan.tokens_per_minute
    known = {role for bound in plan.bounds for role in bound.roles}
    for bound in plan.bounds or (Bound(("",), plan.concurrency, *limits),):
        of = "" if not plan.bounds else f" of {', '.join(role or 'default' for role in bound.roles)}"
        bounded = [part for part in parts if (part.model_role if part.model_role in known else "") in bound.roles]
        calls = math.fsum(getattr(part.calls, end) for part in bounded)
        tokens = math.fsum(getattr(part.tokens_in, end) + getattr(part.tokens_out, end) for part in bounded)
        for name, seconds in (
            ("concurrency", calls * latency_s / bound.concurrency if bound.concurrency else 0.0),
            ("requests per minute", 60.0 * calls / bound.requests_per_minute if bound.requests_per_minute else 0.0),
            ("tokens per minute", 60.0 * tokens / bound.tokens_per_minute if bound.tokens_per_minute else 0.0),
        ):
            times[name + of] = seconds
    bottleneck = max(times, key=lambda name: times[name])
    return times[bottleneck], bottleneck


def _notes(pilot: Sequence[PilotTurn], plan: Plan, tokens_in: Sequence[float], clusters: int) -> list[str]:
    notes = []
    ticks = len({turn.tick for turn in pilot})
    growth, last = _growth(pilot, tokens_in, plan), plan.first_tick + plan.ticks
    if growth > 1.0:
        notes.append(
            f"What a turn reads grew during the pilot. If it goes on so for {last} ticks, those after the pilot read "
            f"{growth:.1f} times the tokens that its mean suggests: the upper ends allow for it. A cap on memory keeps "
            "it down."
        )
    elif growth < 1.0:
        notes.append(
            f"What a turn reads fell during the pilot. If it goes on so for {last} ticks, those after the pilot read "
            f"{growth:.1f} times the tokens that its mean suggests: the lower ends allow for it."
        )
    elif ticks < 3 < last:
        notes.append(
            f"The pilot saw too few of {last} ticks to tell whether prompts grow as memories fill. "
            "One of five ticks or more does."
        )
    elif last > 3 * ticks:
        notes.append(
            f"The pilot saw no growth. What begins only later in the {last} ticks, it cannot tell, and no interval "
            "allows for it."
        )
    if clusters < 10:
        notes.append(f"The pilot had {clusters} agents: with ten or more the interval is much narrower.")
    if plan.rate == Rate() and all(rate == Rate() for rate in plan.rates.values()):
        notes.append("No price is known for this model (budget.prices), so money is 0.")
    return notes
