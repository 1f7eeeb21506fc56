"""Simulated experiments whose truth is known: what intervals cover, how often tests cry wolf, what bounds hold.

Each check draws experiments by the thousand and puts them through the functions of `populace.experiments.inference`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from populace.experiments import inference
from populace.experiments.inference.bands import band_of
from populace.experiments.inference.effects import ENDLESS
from populace.experiments.inference.intervals import ENDS, Ends
from populace.experiments.inference.multiplicity import holm
from populace.experiments.inference.sequential import bets, log_capital
from verification.verdicts import Verdict, check

Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator, tuple[int, ...]], Floats]

EFFECT = 0.7
CHUNK = 500
ASKED = "between 93 and 97 % is what is asked of it"


def normal(random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Noise of the standard normal distribution."""
    return random.standard_normal(shape)


def skewed(random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Exponential noise with mean 0 and variance 1: skewness 2, excess kurtosis 6."""
    return random.exponential(size=shape) - 1.0


def paired(random: np.random.Generator, noise: Noise, replicates: int, experiments: int) -> tuple[Floats, Floats]:
    """Arms (replicates, experiments) that share what a seed does to both; the effect is EFFECT, its noise as given."""
    shared = 2.0 * random.standard_normal((replicates, experiments))
    control = shared + 0.5 * random.standard_normal((replicates, experiments))
    return control + EFFECT + noise(random, (replicates, experiments)), control


def unpaired_ends(treated: Floats, control: Floats, level: float = 0.95) -> Ends:
    """The interval of a test that takes paired arms for independent: the control of the check."""
    replicates = len(treated)
    half = stats.t.ppf(0.5 + level / 2, 2 * replicates - 2) * np.sqrt(
        (treated.var(axis=0, ddof=1) + control.var(axis=0, ddof=1)) / replicates
    )
    middle = treated.mean(axis=0) - control.mean(axis=0)
    return middle - half, middle + half


def coverage(
    ends: Callable[[Floats, Floats], Ends], noise: Noise, experiments: int, replicates: int = 20, seed: int = 1
) -> float:
    """The share of simulated experiments whose interval holds the effect."""
    random = np.random.default_rng(seed)
    covered = 0
    for begin in range(0, experiments, CHUNK):
        low, high = ends(*paired(random, noise, replicates, min(CHUNK, experiments - begin)))
        covered += int(((low <= EFFECT) & (high >= EFFECT)).sum())
    return covered / experiments


def by(method: str) -> Callable[[Floats, Floats], Ends]:
    """The ends that a method of the package gives to paired arms."""
    return lambda treated, control: ENDS[method](treated - control, 0.95)


def quoted_ends(treated: Floats, control: Floats, level: float = 0.95) -> Ends:
    """The ends that a report quotes, as `interval_of` does: studentised, or Student's where that has no ends."""
    between = treated - control
    (low, high), (low_t, high_t) = (ENDS[name](between, level) for name in ("studentised", "t"))
    scale = np.maximum(np.abs(between.mean(axis=0)), high_t - low_t)
    none = ~np.isfinite(high - low) | (high - low > ENDLESS * scale)
    return np.where(none, low_t, low), np.where(none, high_t, high)


@check("intervals of paired effects: coverage of what a report quotes")
def quoted_coverage(full: bool) -> list[Verdict]:
    """95 % intervals as reports quote them, from the fewest pairs that are resampled on."""
    experiments = 10_000 if full else 1_000
    verdicts = []
    for replicates in (5, 8, 20):
        found = coverage(quoted_ends, normal, experiments, replicates)
        verdicts.append(Verdict(f"normal outcomes, {replicates} replicates", found, 0.95, 0.02, ASKED))
    found = coverage(quoted_ends, skewed, experiments, 20)
    return [*verdicts, Verdict("exponential outcomes, 20 replicates", found, 0.95, 0.02, ASKED)]


@check("intervals of paired effects: coverage, normal outcomes")
def normal_coverage(full: bool) -> list[Verdict]:
    """95 % intervals of 20 replicates; the percentile bootstrap is too short by a known amount."""
    experiments = 10_000 if full else 1_000
    short = float(2 * stats.t.cdf(stats.norm.ppf(0.975) * np.sqrt(19 / 20), 19) - 1)
    why = "its width is that of a normal distribution with the variance over n: P(abs(t19) < 1.96 sqrt(19/20))"
    return [
        Verdict("Student's t", coverage(by("t"), normal, experiments), 0.95, 0.02, ASKED),
        Verdict("studentised bootstrap", coverage(by("studentised"), normal, experiments), 0.95, 0.02, ASKED),
        Verdict("BCa", coverage(by("BCa"), normal, experiments), short, 0.015, why),
        Verdict("percentile bootstrap", coverage(by("percentile"), normal, experiments), short, 0.015, why),
    ]


def edgeworth(replicates: int, skewness: float, kurtosis: float) -> float:
    """The coverage of Student's 95 % interval to the order 1/n, of noise with that skewness and excess kurtosis."""
    z = float(stats.norm.ppf(0.975))
    bracket = kurtosis * (z**2 - 3) / 12 - skewness**2 * (z**4 + 2 * z**2 - 3) / 18
    return 0.95 + 2 * float(stats.norm.pdf(z)) * bracket / replicates


@check("intervals of paired effects: coverage, skewed outcomes")
def skewed_coverage(full: bool) -> list[Verdict]:
    """The same with effects that are exponential (skewness 2), 20 and 50 replicates."""
    experiments = 10_000 if full else 1_000
    hall = "Hall (1992), The Bootstrap and Edgeworth Expansion, section 2.6, to the order 1/n"
    verdicts = []
    for replicates in (20, 50):
        told = f"{replicates} replicates"
        theory = edgeworth(replicates, 2.0, 6.0)
        found = {name: coverage(by(name), skewed, experiments, replicates) for name in ENDS}
        verdicts += [
            Verdict(f"Student's t, {told}", found["t"], theory, 0.02, hall),
            Verdict(f"studentised bootstrap, {told}", found["studentised"], 0.95, 0.02, ASKED),
            Verdict(f"BCa, {told}", found["BCa"], 0.95, 0.05, "correct to the order 1/n, Efron (1987)"),
            Verdict(f"percentile bootstrap, {told}", found["percentile"], 0.95, 0.07, "for comparison"),
        ]
    return verdicts


def false_alarms(experiments: int, outcomes: int, *, shared: float, adjust: bool = True, seed: int = 2) -> float:
    """The share of experiments without any effect in which some outcome is called significant at 5 %.

    `shared` is the correlation of outcomes; 20 replicates.
    """
    random = np.random.default_rng(seed)
    common = random.standard_normal((20, experiments, 1))
    own = random.standard_normal((20, experiments, outcomes))
    between = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    t = between.mean(axis=0) / (between.std(axis=0, ddof=1) / np.sqrt(20))
    p = 2 * stats.t.sf(np.abs(t), 19)
    return float(((holm(p) if adjust else p) <= 0.05).any(axis=1).mean())


@check("no effect: false positives after Holm's adjustment")
def no_effect(full: bool) -> list[Verdict]:
    """Six outcomes, of one arm; at most 5.5 % of experiments may claim anything."""
    experiments = 10_000 if full else 2_000
    flips = 10_000 if full else 400
    random = np.random.default_rng(3)
    claimed = [
        bool((holm([inference.sign_flip_p(one) for one in random.standard_cauchy((3, 12))]) <= 0.05).any())
        for _ in range(flips)
    ]
    most = "at most 5.5 % of experiments"
    independent = 1 - (1 - 0.05 / 6) ** 6
    return [
        Verdict("paired t, 6 independent outcomes", false_alarms(experiments, 6, shared=0.0), independent, 0.0065
                if full else 0.015, "1 - (1 - .05/6)^6"),
        Verdict("paired t, 6 outcomes correlated at .5", false_alarms(experiments, 6, shared=0.5), 0.0, 0.055, most),
        Verdict("sign flips, 3 outcomes of Cauchy noise, 12 replicates", float(np.mean(claimed)), 0.0, 0.055, most),
    ]  # fmt: skip


def ever_left(experiments: int, looks: int, share: float, seed: int = 4) -> float:
    """The share of sequences of 0 and 1 whose true mean is left out by the confidence sequence at any look."""
    values = (np.random.default_rng(seed).random((looks, experiments)) < share).astype(np.float64)
    return left_out(values, share)


def left_out(values: Floats, mean: float) -> float:
    """The share of columns of (looks, columns) in 0 to 1 whose mean some bet of the sequence came to leave out."""
    at, reach = np.full(values.shape[1], mean), np.log(2 / 0.05)
    bet, mirrored = bets(values, 0.95), bets(1.0 - values, 0.95)
    above = log_capital(values, bet, at, 1).max(axis=0)
    below = log_capital(1.0 - values, mirrored, 1.0 - at, 1).max(axis=0)
    return float(((above >= reach) | (below >= reach)).mean())


def peeking(values: Floats, mean: float, fewest: int = 5) -> float:
    """The share of columns whose mean Student's interval leaves out at some look: the control of the check."""
    looks = np.arange(1, len(values) + 1)[:, None]
    means = values.cumsum(axis=0) / looks
    squares = (values**2).cumsum(axis=0) / looks
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.sqrt(np.maximum(squares - means**2, 0.0) / (looks - 1))
        out = np.abs(means - mean) > stats.t.ppf(0.975, np.maximum(looks - 1, 1)) * errors
    return float((out & (errors > 0))[fewest - 1 :].any(axis=0).mean())


@check("anytime-valid intervals: the truth at every look")
def every_look(full: bool) -> list[Verdict]:
    """At most 5 % of sequences may leave the mean out at any of their looks."""
    experiments, looks = (10_000, 500) if full else (1_000, 100)
    most = "Waudby-Smith and Ramdas (2024), theorem 3: at most 5 %"
    beta = np.random.default_rng(5).beta(2, 5, size=(looks, experiments))
    return [
        Verdict(f"share that errs, coins of .5, {looks} looks", ever_left(experiments, looks, 0.5), 0.0, 0.05, most),
        Verdict(f"share that errs, coins of .1, {looks} looks", ever_left(experiments, looks, 0.1), 0.0, 0.05, most),
        Verdict(f"share that errs, Beta(2, 5), {looks} looks", left_out(beta, 2 / 7), 0.0, 0.05, most),
    ]


def trajectories_covered(experiments: int, noise: Noise = normal, *, pointwise: bool = False, seed: int = 6) -> float:
    """The share of experiments whose band holds the effect at all 30 ticks: 20 replicates, correlation .8 a tick."""
    random = np.random.default_rng(seed)
    truth = EFFECT * np.minimum(np.arange(30) / 10.0, 1.0)
    covered = 0
    for _ in range(experiments):
        course = noise(random, (20, 30))
        for tick in range(1, 30):
            course[:, tick] = 0.8 * course[:, tick - 1] + 0.6 * course[:, tick]
        made = band_of(truth + course, 0.95, draws=1_000)
        low, high = (made.pointwise_low, made.pointwise_high) if pointwise else (made.low, made.high)
        covered += bool(((low <= truth) & (truth <= high)).all())
    return covered / experiments


@check("bands: the whole trajectory of an effect")
def whole_trajectories(full: bool) -> list[Verdict]:
    """95 % bands over 30 ticks, of noise that is normal or exponential."""
    experiments = 2_000 if full else 150
    found, leaning = (trajectories_covered(experiments, noise) for noise in (normal, skewed))
    least = "at least 95 %: with few replicates it is wider than need be, for the resamples' own standard errors"
    return [
        Verdict("bands that hold all 30 ticks, 20 replicates", found, 1.0, 0.05, least),
        Verdict("the same with exponential noise", leaning, 1.0, 0.07, "for comparison"),
    ]


def abstaining(random: np.random.Generator, *, edge: bool = False) -> tuple[Floats, Floats, float, float]:
    """Arms (20, 60) of answers in 0 to 10 with NaN, the effect on all, and on those who answer in either arm.

    Whoever answers when treated answers as a control too, and the higher the answer the likelier it is missing when
    treated. With `edge` what is missing is as bad as can be: the truth is the lower bound itself.
    """
    level = random.normal(5.0, 1.5, size=(20, 60)) + random.normal(0.0, 0.5, size=(20, 1))
    control = np.clip(level + random.normal(0, 0.5, level.shape), 0, 10)
    treated = np.clip(level + 1.0 + random.normal(0, 0.5, level.shape), 0, 10)
    if edge:
        gone = random.random(level.shape) < 0.2
        treated = np.where(gone, 0.0, treated)
        return np.where(gone, np.nan, treated), control, np.nan, np.nan
    chance = random.random(level.shape)
    answers_treated = chance > 0.1 + 0.5 / (1 + np.exp(-(treated - 7.0)))
    answers_control = chance > 0.05
    assert not (answers_treated & ~answers_control).any()
    always = answers_treated & answers_control
    ours, theirs = np.where(answers_treated, treated, np.nan), np.where(answers_control, control, np.nan)
    return ours, theirs, float((treated - control).mean()), float((treated - control)[always].mean())


def abstention(experiments: int, others: int = 100, seed: int = 7) -> dict[str, float]:
    """Shares of experiments with planted abstention in which the truth is held: by bounds, and by who just leaves out.

    The truth is of the population: the mean over `others` experiments of 1,200 agents.
    """
    many = np.random.default_rng(seed + 1)
    drawn = [abstaining(many) for _ in range(others)]
    effect, on_always = float(np.mean([one[2] for one in drawn])), float(np.mean([one[3] for one in drawn]))
    low_edge = float(np.mean([np.nan_to_num(ours, nan=0.0).mean() - theirs.mean() for ours, theirs, _, _ in
                              (abstaining(many, edge=True) for _ in range(2_000))]))  # fmt: skip
    random = np.random.default_rng(seed)
    held: dict[str, list[bool]] = {"worst case": [], "Lee": [], "left out": [], "edge": []}
    for _ in range(experiments):
        ours, theirs, _, _ = abstaining(random)
        worst, trimmed = inference.worst_case(ours, theirs, 0.0, 10.0), inference.lee(ours, theirs)
        held["worst case"].append(worst.low <= effect <= worst.high)
        held["Lee"].append(trimmed.interval_low <= on_always <= trimmed.interval_high)
        plain = inference.interval(np.nanmean(ours, axis=1) - np.nanmean(theirs, axis=1))
        held["left out"].append(plain.covers(effect))
        ours, theirs, _, _ = abstaining(random, edge=True)
        edge = inference.worst_case(ours, theirs, 0.0, 10.0)
        held["edge"].append(edge.interval_low <= low_edge <= edge.interval_high)
    return {name: float(np.mean(one)) for name, one in held.items()}


@check("bounds: the truth under planted abstention")
def bounded(full: bool) -> list[Verdict]:
    """Treated agents with high answers abstain: worst-case and Lee's bounds."""
    found = abstention(2_000, 400) if full else abstention(40)
    least = "at least 95 %"
    return [
        Verdict("worst-case bounds that hold the effect", found["worst case"], 1.0, 0.0, "Manski (1990)"),
        Verdict("worst-case intervals that hold a truth at their edge", found["edge"], 0.95,
                0.02 if full else 0.1, "Imbens and Manski (2004): 95 %"),
        Verdict("Lee's intervals that hold the effect on those who always answer", found["Lee"], 1.0, 0.05, least),
    ]  # fmt: skip


def found_share(difference: float, replicates: int, experiments: int, seed: int = 8) -> float:
    """The share of experiments in which a paired t finds `difference` (standard deviations of differences)."""
    between = difference + np.random.default_rng(seed).standard_normal((replicates, experiments))
    t = between.mean(axis=0) / (between.std(axis=0, ddof=1) / np.sqrt(replicates))
    return float((2 * stats.t.sf(np.abs(t), replicates - 1) <= 0.05).mean())


@check("power: what is promised is found")
def promised(full: bool) -> list[Verdict]:
    """Replicates for a power of .8 and .9, against the share of simulated experiments that find the effect."""
    experiments = 10_000 if full else 2_000
    verdicts = []
    for difference, power in ((0.5, 0.8), (0.8, 0.9)):
        replicates = inference.replicates_for(difference, 1.0, power)
        assert replicates is not None
        promise = inference.power_of(difference, 1.0, replicates)
        found = found_share(difference, replicates, experiments)
        title = f"share that finds {difference} sd with {replicates} replicates"
        verdicts.append(Verdict(title, found, promise, 0.012 if full else 0.025, "noncentral t, statsmodels"))
    return verdicts


def within_runs_covered(experiments: int, *, naive: bool = False, seed: int = 9) -> float:
    """The share of experiments, 20 runs of 30 agents with effects that differ between runs, whose interval covers."""
    random = np.random.default_rng(seed)
    run = np.repeat(np.arange(20), 30)
    covered = 0
    for _ in range(experiments):
        dealt = np.concatenate([random.permutation(30) % 2 for _ in range(20)]).astype(np.float64)
        own = EFFECT + 0.6 * random.standard_normal(20)
        values: Any = random.standard_normal(20)[run] + own[run] * dealt + random.standard_normal(600)
        made = inference.within_runs(values, dealt, run)
        covered += (made.naive if naive else made.interval).covers(EFFECT)
    return covered / experiments


@check("agents randomised within runs: clustered intervals")
def within(full: bool) -> list[Verdict]:
    """Effects differ between runs, so that agents of one run are not independent."""
    found = within_runs_covered(3_000 if full else 200)
    return [Verdict("intervals clustered by run, 20 runs", found, 0.95, 0.02 if full else 0.035, ASKED)]
