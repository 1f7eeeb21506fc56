"""The newest posts of those whom an agent follows, for many agents at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from populace.env.feed.posts import NONE, Posts
from populace.env.network.csr import Csr

_SPAN: Final = 8
"""Up to how many times as many ids as are found are marked one by one."""

Skip = Callable[[NDArray[np.int64], NDArray[np.int32]], NDArray[np.bool_]]


def distinct_posts(found: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The posts that are found, each once, ascending, and the place of each of `found` among them; -1 where NONE."""
    last = int(found.max(initial=NONE))
    first = int(np.where(found == NONE, last, found).min(initial=last))
    if last - first > _SPAN * found.size:
        ids, places = np.unique(found, return_inverse=True)
        nothing = int(np.searchsorted(ids, 0))
        return ids[nothing:], np.reshape(places, found.shape) - nothing
    # Ids that lie together are marked and counted, which is several times faster than a sort of all of them.
    there = np.zeros(last - first + 2, np.bool_)
    at = np.where(found == NONE, last + 1, found) - first
    there[at] = True
    there[-1] = False
    place = np.cumsum(there) - 1
    place[-1] = NONE
    return np.flatnonzero(there) + first, place[at]


def newest_of_followed(
    posts: Posts, follows: Csr, agents: NDArray[np.int64], n: int, skip: Skip | None = None
) -> NDArray[np.int64]:
    """The ids of the n newest kept posts of those whom each agent follows: (agents, n), newest first, then NONE.

    `skip(agents, authors)`, both aligned, says whose posts an agent is not to be shown.

    Each author's posts are a chain from the newest back. For every agent the heads of the chains of those followed
    are merged: n times the newest head is taken and its chain moves on. All agents move together, so the cost is n
    passes over the followed ones who have kept posts, and no Python an agent.
    """
    found = np.full((len(agents), n), NONE, dtype=np.int64)
    starts = follows.offsets[agents]
    lengths = follows.offsets[agents + 1] - starts
    total = int(lengths.sum())
    row = np.repeat(np.arange(len(agents)), lengths)
    before = np.concatenate([[0], np.cumsum(lengths)[:-1]]) if len(agents) else lengths
    at = np.arange(total) - np.repeat(before, lengths) + np.repeat(starts, lengths)
    authors = follows.targets[at]
    heads = posts.last[authors]
    if skip is not None:
        heads[skip(agents[row], authors)] = NONE
    for place in range(n):
        live = heads >= posts.oldest
        if not live.all():
            heads, row = heads[live], row[live]
        if not len(heads):
            break
        first = np.flatnonzero(np.concatenate([[True], row[1:] != row[:-1]]))
        newest = np.maximum.reduceat(heads, first)
        found[row[first], place] = newest
        taken = np.flatnonzero(heads == np.repeat(newest, np.diff(np.append(first, len(heads)))))
        heads[taken] = posts.column("previous", heads[taken])
    return found
