"""What a platform keeps of posts and accounts beyond a plain feed: truth, labels, cascades, strikes, mutes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.env.digest import join_digests
from populace.env.feed.posts import NONE, Posts
from populace.env.feed.tables import Pairs, Table

UNKNOWN: Final = -1
"""The truth of a post that has none."""
LABELS: Final = (None, "disputed", "false")
"""What a post's label is shown as: none, by its readers' flags, by a fact-checker."""
DISPUTED, FALSE = 1, 2
BY_LABEL, BY_MODERATOR = 1, 2
"""Why a post is removed."""
FOR_GOOD: Final = 2**31 - 1
KINDS: Final = ("posts", "likes", "shares", "comments", "quotes", "flags", "views", "labels", "removals")
"""What is counted for posts of each truth."""
_PLACES: Final = {kind: at for at, kind in enumerate(KINDS)}

_OF_POSTS: Final[Mapping[str, tuple[Any, int]]] = {
    "truth": (np.int8, UNKNOWN),
    "community": (np.int32, NONE),
    "quote": (np.int64, NONE),
    "via": (np.int64, NONE),
    "hop": (np.int32, 0),
    "depth": (np.int32, 0),
    "comments": (np.int32, 0),
    "flags": (np.int32, 0),
    "views": (np.int32, 0),
    "label": (np.int8, 0),
    "verdict": (np.int8, UNKNOWN),
    "due": (np.int32, NONE),
    "removed": (np.int8, 0),
}
_OF_ACCOUNTS: Final[Mapping[str, tuple[Any, int]]] = {
    "strikes": (np.int32, 0),
    "until": (np.int32, 0),
    "engaged": (np.int32, 0),
}


class Records:
    """The columns of posts (beside those of `Posts`), of accounts, and who muted, flagged and shared what.

    Posts: `truth` (1, 0 or UNKNOWN), `community` and `quote` (or NONE), `via` (the post through which a share came),
    `hop` (shares between this post and its original), `depth` (the greatest hop of an original's shares), counts, the
    label's number, the checker's `verdict`, when it is `due`, and `removed`. Labels and removals stand in the rows of
    shares too, since an original may be dropped before them. Accounts: `strikes`, `until` (the tick up to which an
    author is suspended), `engaged` (likes, shares, quotes and comments received). `totals` counts KINDS by the truth of
    the original: rows false, true, unknown.
    """

    def __init__(self, keep: int, agents: int, dimensions: int, memory: int) -> None:
        vector: Mapping[str, tuple[Any, int]] = {f"v{at}": (np.float32, 0) for at in range(dimensions)}
        seen: Mapping[str, tuple[Any, int]] = {
            **{f"s{at}": (np.int64, NONE) for at in range(memory)},
            **({"next": (np.int32, 0)} if memory else {}),
        }
        self.posts = Table("platform.posts", _OF_POSTS, ring=keep)
        self.accounts = Table("platform.accounts", _OF_ACCOUNTS)
        self.vectors = Table("platform.vectors", vector, ring=keep)
        self.interests = Table("platform.interests", vector)
        self.seen = Table("platform.seen", seen)
        self.flags, self.shares, self.mutes = (Pairs(f"platform.{name}") for name in ("flags", "shares", "mutes"))
        self.totals = np.zeros((3, len(KINDS)), np.int64)
        self.grow(agents)

    def grow(self, agents: int) -> None:
        """So many agents more."""
        for table in (self.accounts, self.interests, self.seen):
            table.extend(agents)

    def count(self, kind: str, post: int, by: int = 1) -> None:
        """Count something that was done to an original, in the totals."""
        self.totals[self.posts.value("truth", post), _PLACES[kind]] += by

    def count_posts(self, truth: NDArray[np.int8]) -> None:
        """Count new posts that are no shares, by their truths."""
        self.totals[:, _PLACES["posts"]] += np.bincount(truth % 3, minlength=3)

    def viewed(self, posts: NDArray[np.int64]) -> None:
        """These kept originals were read, each as often as it stands here."""
        np.add.at(self.posts["views"], self.posts.places(posts), 1)
        self.posts.touch(posts)
        self.totals[:, _PLACES["views"]] += np.bincount(self.of_posts("truth", posts) % 3, minlength=3)

    def of_posts(self, name: str, posts: NDArray[np.int64]) -> NDArray[Any]:
        """A column's values for kept posts, of any shape."""
        values: NDArray[Any] = self.posts[name][self.posts.places(posts)]
        return values

    def suspended(self, agents: NDArray[np.integer], tick: int) -> NDArray[np.bool_]:
        """Which of these are suspended at this tick."""
        found: NDArray[np.bool_] = self.accounts["until"][agents] > tick
        return found

    def with_shares(self, posts: Posts, originals: list[int]) -> NDArray[np.int64]:
        """These kept originals and all kept shares of them, in order."""
        kept = posts.ids()
        shares = kept[np.isin(posts.column("original", kept), originals)]
        return np.union1d(np.asarray(originals, np.int64), shares)

    def _parts(self) -> dict[str, Table | Pairs]:
        names = ("posts", "accounts", "vectors", "interests", "seen", "flags", "shares", "mutes")
        return {name: getattr(self, name) for name in names}

    def digest(self) -> bytes:
        """16 bytes over all that `state` gives."""
        return join_digests(self.totals.tobytes(), *(part.digest() for part in self._parts().values()))

    def state(self) -> dict[str, Any]:
        """All of it, as plain data and arrays."""
        parts = self._parts().items()
        tables = {name: part.array() if isinstance(part, Pairs) else part.state() for name, part in parts}
        return {**tables, "totals": self.totals.copy()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what `state` gave."""
        for name, part in self._parts().items():
            part.restore(state[name])
        self.totals = np.array(state["totals"], np.int64)
