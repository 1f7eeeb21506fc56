"""Feeds against theory: sizes of cascades of a branching process, with and without a limit of hops; labels by Bayes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from populace.core.draws import Draws, words
from populace.env import Action, Network, Opening, Platform, World
from populace.env.feed.cascades import tail_exponent
from verification.verdicts import Verdict, check

FOLLOWED = 5
SOURCE = "Harris 1963, The Theory of Branching Processes: mean size 1/(1-R), by hops up to L (1-R^(L+1))/(1-R)"


def opened(agents: int, seed: int, platform: Platform) -> World:
    """A world in which everybody follows five others, drawn by lot."""
    draw = np.random.default_rng(seed)
    source = np.repeat(np.arange(agents), FOLLOWED)
    target = np.concatenate([draw.choice(agents - 1, FOLLOWED, replace=False) for _ in range(agents)])
    target += target >= source
    world = World(Network(source, target, size=agents), platform)
    world.open(Opening(agents=agents, seed=seed, tick_seconds=60.0, parameters=None, columns={}, draw=Draws(seed)))
    return world


def acts(kind: str, agents: NDArray[np.integer], args: list[dict[str, object]]) -> list[Action]:
    """An action of each of these agents."""
    return [Action(agent, nth, kind, one) for nth, (agent, one) in enumerate(zip(agents.tolist(), args, strict=True))]


def cascade_sizes(originals: int, reproduction: float, seed: int, *, hop_limit: int = 0) -> NDArray[np.int64]:
    """Sizes of the cascades of so many posts, where whoever is shown a new post shares it with probability R / 5.

    Every reader is shown what those whom it follows posted or shared in the tick before, and a post but once.
    """
    agents = 10 * originals
    platform = Platform(20 * originals, 40, sees="followed", hop_limit=hop_limit, memory=30)
    world = opened(agents, seed, platform)
    authors = np.arange(0, agents, 10)
    world.resolve(acts("feed.post", authors, [{"text": "x"} for _ in authors]))
    everybody = np.arange(agents, dtype=np.int32)
    while platform.posts.column("tick", platform.posts.newest(1))[0] == world.tick - 1:
        found = platform.ranked("followed", everybody.astype(np.int64), 40)
        fresh = (found >= 0) & (platform.posts.column("tick", np.maximum(found, 0)) == world.tick - 1)
        rows, columns = np.nonzero(fresh)
        posts = found[rows, columns]
        original = platform.posts.column("original", posts)
        original = np.where(original < 0, posts, original)
        lots = (words(seed, 0, "shares", original, rows) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        shares = lots < reproduction / FOLLOWED
        read = acts("feed.read", rows, [{"posts": [post]} for post in posts.tolist()])
        shared = acts("feed.share", rows[shares], [{"post": post} for post in posts[shares].tolist()])
        world.resolve(read + shared)
    return platform.cascades()["size"].astype(np.int64)


@check("feed: subcritical cascades")
def subcritical(full: bool) -> list[Verdict]:
    """Mean sizes at R of 0.3 and 0.6, and at 0.6 with at most two hops."""
    originals, found = 2_000 if full else 300, []
    for reproduction, limit in ((0.3, 0), (0.6, 0), (0.6, 2)):
        sizes = cascade_sizes(originals, reproduction, 5, hop_limit=limit)
        expected, variance = 1 / (1 - reproduction), reproduction / (1 - reproduction) ** 3
        if limit == 2:
            expected *= 1 - reproduction**3
            variance = reproduction * (1 + reproduction) ** 2 + reproduction**2
        error = 3 * float(np.sqrt(variance / originals))
        what = f"mean size, R = {reproduction}" + (f", {limit} hops" if limit else "")
        found.append(Verdict(what, float(sizes.mean()), expected, error, SOURCE))
    return found


@check("feed: what a label tells")
def labels_by_bayes(full: bool) -> list[Verdict]:
    """How often what a checker labels false is false, and how much of what is false it labels."""
    posts, seeds, false, checked, accuracy = (5_000, 8, 0.2, 0.5, 0.8) if full else (1_000, 2, 0.2, 0.5, 0.8)
    labels, truths = [], []
    for seed in range(seeds):
        platform = Platform(posts, 10, moderation="third_party", false_share=false, check_share=checked,
                            check_accuracy=accuracy, check_delay=1)  # fmt: skip
        world = opened(20, seed, platform)
        world.resolve(acts("feed.post", np.arange(posts) % 20, [{"text": "x"} for _ in range(posts)]))
        world.resolve([])
        labels.append(platform.cascades()["label"])
        truths.append(platform.cascades()["truth"])
    labelled, is_false = np.concatenate(labels) == 2, np.concatenate(truths) == 0
    posts *= seeds
    precision = false * accuracy / (false * accuracy + (1 - false) * (1 - accuracy))
    found = float(is_false[labelled].mean()), float(labelled[is_false].mean())
    sizes = posts * checked * (false * accuracy + (1 - false) * (1 - accuracy)), posts * false
    return [
        Verdict(what, value, expected, 3 * float(np.sqrt(expected * (1 - expected) / size)), source)
        for what, value, expected, size, source in (
            ("precision", found[0], precision, sizes[0], "Bayes: f a / (f a + (1 - f)(1 - a))"),
            ("recall", found[1], checked * accuracy, sizes[1], "share checked times accuracy"),
        )
    ]


@check("feed: the exponent of a tail")
def exponents(full: bool) -> list[Verdict]:
    """The estimate of a power law's exponent, of numbers drawn from one."""
    size, alpha = 200_000 if full else 20_000, 2.5
    drawn = np.random.default_rng(11).zipf(alpha, size)
    tail = int((drawn >= 6).sum())
    error = 3 * (alpha - 1) / tail**0.5 + 0.01
    source = "numpy's zipf, exponent 2.5; Clauset et al. 2009, equation 3.7 and its standard error"
    return [Verdict("alpha", tail_exponent(drawn, least=6), alpha, error, source)]
