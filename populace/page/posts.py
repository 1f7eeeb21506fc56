"""Posts of a feed and how they travelled, from the table of actions.

A feed numbers its posts as its actions act, in the fair order of their tick (`kernel.order`), which follows from the
seed; so the numbers by which agents named posts are found again, and with them who shared what through whom.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from populace.core.draws import WORLD, Draws
from populace.kernel.order import fair_actions
from populace.page.rows import Rows
from populace.page.scan import SHOWN_LETTERS
from populace.page.shelf import NotThere

VERBS: Final = ("post", "quote", "repost", "share")
"""Actions by which a feed gets another post."""
NONE: Final = -1
_MOST_TREE: Final = 2000


class _Args(msgspec.Struct):
    text: str = ""
    post: int = NONE
    reply_to: int | None = None


class Feed(NamedTuple):
    """The posts of one part, by number: who wrote it when, by what action, about which post, and of which original.

    `about` is what is replied to, quoted or shared, and `original` what is shared, each -1 where there is none. `texts`
    are an Arrow array, each cut to what a page lists.
    """

    part: str
    author: NDArray[np.int32]
    tick: NDArray[np.int32]
    verb: NDArray[np.int8]
    about: NDArray[np.int64]
    original: NDArray[np.int64]
    likes: NDArray[np.int32]
    texts: Any

    def sizes(self) -> NDArray[np.int64]:
        """How many posts each one's cascade holds: itself and its shares."""
        shares = self.original[self.original >= 0]
        return 1 + np.bincount(shares, minlength=len(self.author))


class _Taken:
    """What the table of actions says of one part, in columns, a stretch at a time."""

    def __init__(self) -> None:
        self.columns: list[list[NDArray[Any]]] = [[], [], [], [], []]
        self.texts: list[Any] = []
        self.liked: list[NDArray[np.int64]] = []

    def joined(self) -> list[NDArray[Any]]:
        return [np.concatenate(column) for column in self.columns]


def read_feeds(folder: Path, seed: int, trace_version: int) -> dict[str, Feed]:
    """The feeds of a run, by the name of the part."""
    rows = Rows(folder, "actions")
    found: dict[str, _Taken] = {}
    for group in rows.groups:
        table = rows.read(group, ("kind", "fate"))
        kinds = [kind for kind in pc.unique(table.column("kind")).to_pylist() if _verb(kind) in (*VERBS, "like")]
        applied = pc.equal(table.column("fate"), "applied")
        wanted = [(kind, np.flatnonzero(pc.and_(pc.equal(table.column("kind"), kind), applied))) for kind in kinds]
        if not wanted:
            continue
        whole = rows.read(group, ("tick", "agent", "nth", "args"))
        for kind, at in wanted:
            _take(found.setdefault(kind.rpartition(".")[0], _Taken()), _verb(kind), whole.take(at))
    return {part: _feed(part, taken, seed, trace_version) for part, taken in found.items() if taken.texts}


def _take(taken: _Taken, verb: str, table: Any) -> None:
    said = [_read(args) for args in table.column("args").to_pylist()]
    if verb == "like":
        taken.liked.append(np.array([one.post for one in said if one is not None], np.int64))
        return
    kept = [at for at, one in enumerate(said) if one is not None and (one.text or one.post >= 0)]
    if not kept:
        return
    posts = [said[at] for at in kept]
    about = [
        (-1 if one.reply_to is None else one.reply_to) if verb == "post" else one.post
        for one in posts
        if one is not None
    ]
    for column, name in zip(taken.columns, ("tick", "agent", "nth"), strict=False):
        column.append(table.column(name).to_numpy()[kept])
    taken.columns[3].append(np.full(len(kept), VERBS.index(verb), np.int8))
    taken.columns[4].append(np.array(about, np.int64))
    taken.texts.append(pa.array([one.text[:SHOWN_LETTERS] for one in posts if one is not None], pa.string()))


def _read(args: str) -> _Args | None:
    try:
        return _decode(args)
    except msgspec.MsgspecError:
        return None  # a part of the author's own has an action of this name


_decode: Final = msgspec.json.Decoder(_Args).decode


def _verb(kind: str) -> str:
    return kind.rpartition(".")[2]


def _feed(part: str, taken: _Taken, seed: int, trace_version: int) -> Feed:
    ticks, agents, nths, verbs, named = taken.joined()
    order = np.lexsort((nths, agents, ticks))
    if trace_version >= 2:
        for begin, end in _runs(ticks[order]):
            mine = order[begin:end]
            draw = Draws(seed, WORLD, int(ticks[mine[0]]))
            fair = fair_actions(draw, [part] * len(mine), agents[mine], nths[mine])
            order[begin:end] = mine[fair]
    count = len(order)
    verb = verbs[order]
    about = named[order]
    about = np.where((about >= 0) & (about < np.arange(count)), about, NONE)
    shared = (verb == VERBS.index("repost")) | (verb == VERBS.index("share"))
    original = np.where(shared, about, NONE)
    while True:  # a share of a share is one of what that shared
        above = np.where(original >= 0, original[np.maximum(original, 0)], NONE)
        if (above < 0).all():
            break
        original = np.where(above >= 0, above, original)
    liked = np.concatenate(taken.liked) if taken.liked else np.empty(0, np.int64)
    liked = liked[(liked >= 0) & (liked < count)]
    liked = np.where(original[liked] >= 0, original[liked], liked)
    likes = np.bincount(liked, minlength=count).astype(np.int32)
    texts = pa.concat_arrays(taken.texts).take(pa.array(order))
    return Feed(part, agents[order], ticks[order], verb, about, original, likes, texts)


def _runs(values: NDArray[np.int32]) -> list[tuple[int, int]]:
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return [(begin, end) for begin, end in pairwise(edges) if begin < end]


class Post(msgspec.Struct, frozen=True):
    """A post as it is listed; `size` counts its cascade, itself included, `replies` what answers or quotes it."""

    post: int
    part: str
    author: int
    tick: int
    verb: str
    about: int
    text: str
    size: int
    replies: int
    likes: int


def listed(feed: Feed, *, text: str, agent: int | None, by: str, start: int, want: int) -> dict[str, Any]:
    """Originals, the largest cascades first (`by` size), or the newest: those that hold `text`, of an author."""
    sizes = feed.sizes()
    replies = np.bincount(feed.about[(feed.original < 0) & (feed.about >= 0)], minlength=len(sizes))
    fits = feed.original < 0
    if text:
        fits &= pc.match_substring(feed.texts, text, ignore_case=True).to_numpy(zero_copy_only=False)
    if agent is not None:
        fits &= feed.author == agent
    posts = np.flatnonzero(fits)
    posts = posts[np.argsort(-sizes[posts], kind="stable")] if by == "size" else posts[::-1]
    found = []
    for post in posts[start : start + want].tolist():
        author, tick, about = (int(column[post]) for column in (feed.author, feed.tick, feed.about))
        verb, text = VERBS[feed.verb[post]], feed.texts[post].as_py()
        counts = (int(sizes[post]), int(replies[post]), int(feed.likes[post]))
        found.append(Post(post, feed.part, author, tick, verb, about, text, *counts))
    more = start + want < len(posts)
    return {"posts": found, "next": start + want if more else None, "of": len(posts), "part": feed.part}


def cascade(feed: Feed, post: int) -> dict[str, Any]:
    """One post with all that came of it: shares through whom, replies and quotes, and its size by tick.

    `members` are in order, each with its parent's place (`under`) and how many steps it is from the post; of very many
    the first. Raises NotThere.
    """
    if not 0 <= post < len(feed.author):
        raise NotThere(f"{feed.part} has no post {post}")
    post = post if feed.original[post] < 0 else int(feed.original[post])
    known, edge = np.array([post], np.int64), np.array([post], np.int64)
    while len(edge) and len(known) < _MOST_TREE:
        edge = np.flatnonzero(np.isin(feed.about, edge))
        known = np.concatenate((known, edge))
    members = np.sort(known)[:_MOST_TREE].tolist()
    place = {number: at for at, number in enumerate(members)}
    depth: list[int] = []
    tree = []
    for number in members:
        under = place.get(int(feed.about[number]), NONE) if number != post else NONE
        depth.append(0 if under < 0 else depth[under] + 1)
        tree.append({
            "post": number, "author": int(feed.author[number]), "tick": int(feed.tick[number]),
            "verb": VERBS[feed.verb[number]], "under": under, "depth": depth[-1],
            "text": feed.texts[number].as_py(),
        })  # fmt: skip
    ticks, counts = np.unique([one["tick"] for one in tree], return_counts=True)
    size = int(feed.sizes()[post])
    growth = {"ticks": ticks.tolist(), "sizes": np.cumsum(counts).tolist()}
    return {"part": feed.part, "size": size, "likes": int(feed.likes[post]), "members": tree, "growth": growth}
