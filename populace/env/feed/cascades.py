"""Cascades: how far an original travels by shares, and what is counted of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace.env.feed.posts import NONE, Posts
from populace.env.feed.records import LABELS, Records


def cascades(posts: Posts, records: Records) -> dict[str, NDArray[Any]]:
    """The kept originals, oldest first, in columns: what became of each.

    `post`, `author`, `tick`; `truth` (1, 0, or -1 unknown); `size` (the original and its shares), `depth` (the greatest
    number of shares between one of them and the original); `likes`, `comments` (replies and quotes), `flags`, `views`;
    `label` (0 none, 1 disputed, 2 false), `removed` (0 no, 1 by its label, 2 by a moderator). Integers all.
    """
    kept = posts.ids()
    kept = kept[posts.column("original", kept) == NONE]
    found = {"post": kept, **{name: posts.column(name, kept) for name in ("author", "tick", "likes")}}
    found["size"] = 1 + posts.column("reposts", kept)
    names = ("truth", "depth", "comments", "flags", "views", "label", "removed")
    return {**found, **{name: records.of_posts(name, kept) for name in names}}


def tree(posts: Posts, records: Records, original: int) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """The kept posts of a cascade, the original first and then in order, and the place of each one's parent.

    The original's parent is -1; a share that came through one that is kept no longer hangs from the original.
    """
    kept = posts.ids()
    members = np.concatenate(([original], kept[posts.column("original", kept) == original]))
    via = records.of_posts("via", members)
    place = np.searchsorted(members, via)
    place[place == len(members)] = 0
    parents = np.where(members[place] == via, place, 0).astype(np.intp)
    parents[0] = -1
    return members, parents


def structural_virality(parents: NDArray[np.intp]) -> float:
    """The mean distance between two members of a cascade: 0 of one alone, near 2 of a broadcast, more of a chain.

    The Wiener index over the pairs, by the sizes of subtrees: Goel et al. 2016, doi:10.1287/mnsc.2015.2158.
    """
    size = len(parents)
    if size < 2:
        return 0.0
    below = np.ones(size)
    for at in range(size - 1, 0, -1):
        below[parents[at]] += below[at]
    return float(2.0 * np.sum(below[1:] * (size - below[1:])) / (size * (size - 1.0)))


def tail_exponent(values: NDArray[Any], least: int = 1) -> float:
    """The exponent alpha of P(x) ~ x**-alpha in whole numbers of at least `least`; nan where fewer than two are.

    Maximum likelihood in the discrete case, approximate and good for `least` of 6 or more: alpha = 1 + n / sum(ln(x /
    (least - 1/2))). Clauset, Shalizi and Newman 2009, doi:10.1137/070710111, equation 3.7.
    """
    tail = np.asarray(values, np.float64)
    tail = tail[tail >= least]
    if len(tail) < 2:
        return float("nan")
    return float(1.0 + len(tail) / np.sum(np.log(tail / (least - 0.5))))


def shown_cascade(posts: Posts, records: Records, original: int) -> dict[str, Any]:
    """A cascade as plain data."""
    _, parents = tree(posts, records, original)
    return {
        "post": original,
        "size": 1 + int(posts.column("reposts", np.array([original]))[0]),
        "depth": records.posts.value("depth", original),
        "virality": structural_virality(parents),
        "label": LABELS[records.posts.value("label", original)],
    }
