"""A message feed: posts, replies, reposts and likes, and the timelines that agents read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.feed.posts import NONE, Posts
from populace.env.feed.timeline import distinct_posts, newest_of_followed
from populace.env.network.part import Network
from populace.env.packed import of_each
from populace.env.part import FIRST, LAST, Batch, Opening, Part, action, as_it_stands, query
from populace.env.picked import Column, Picked, Rows
from populace.env.wholes import check_whole

View = Literal["latest", "from_followed", "popular"]
Sees = Literal["latest", "from_followed", "popular", "nothing"] | None
_VIEWS: Final = ("latest", "from_followed", "popular")


class Feed(Part):
    """Posts in the order in which they were posted, of which the last `keep` are kept.

    Agents act with `post(text=, reply_to=None)`, `repost(post=)` and `like(post=)`; a like or a repost of a repost
    goes to the original. Refusals are `bad_arguments`, `empty_text`, `long_text` (over `text_chars` characters),
    `unknown_post` (there is none such, or it is kept no longer) and `already_liked`.

    Agents see what `sees` names ('latest', 'from_followed', 'popular', or None for nothing), as `feed.latest` and
    so on, and ask for any of them, for `thread` and for `by`; each shows `show` posts unless it asks for another
    `n`. `from_followed` reads whom an agent follows from the part named `network`. With `notify`, a reply is also
    sent to the author of the post, as {'reply': id, 'to': id, 'text': text}, which makes the author due.

    A post is shown as {'id', 'author', 'tick', 'text', 'likes', 'reposts', 'reply_to', 'repost_of',
    'original_author'}, the last three being None where they do not apply.

    Levers may set `show`, `sees` (or "nothing"), `text_chars` and `notify`.
    """

    name = "feed"
    unsaved: Collection[str] = ("_popular",)
    settable: Mapping[str, Any] = {"show": int, "sees": Sees, "text_chars": int, "notify": bool}

    def __init__(
        self,
        keep: int = 10_000,
        show: int = 10,
        *,
        sees: View | None = None,
        text_chars: int = 2_000,
        notify: bool = False,
        network: str = "network",
        name: str | None = None,
    ) -> None:
        """Raises ScenarioError unless 1 <= show <= keep and text_chars >= 1."""
        super().__init__(name)
        check_whole(type(self).__name__, 1, keep=keep, show=show, text_chars=text_chars)
        if show > keep:
            raise ScenarioError(f"{type(self).__name__}(keep={keep}, show={show}): show is at most keep")
        if sees is not None and sees not in _VIEWS:
            raise ScenarioError(f"Feed(sees={sees!r}): it is one of {', '.join(_VIEWS)}, or None")
        self.keep = keep
        self.show = show
        self.sees = sees
        self.text_chars = text_chars
        self.notify = notify
        self._network_name = network
        self.posts = Posts(keep, 0)
        self._popular: NDArray[np.int64] | None = None

    @property
    def shows(self) -> bool:  # type: ignore[override]
        """False as long as it `sees` None."""
        return self.sees is not None or type(self).observe is not Feed.observe

    def open(self, opening: Opening) -> None:
        """Start without posts. Raises ScenarioError when agents see whom they follow and there is no network."""
        self.posts = Posts(self.keep, opening.agents)
        if self.sees == "from_followed":
            self._network()

    def set_parameter(self, name: str, value: Any) -> None:
        """Take a value of `settable`. Raises ScenarioError for one that the constructor would refuse."""
        if (name == "show" and not 1 <= value <= self.keep) or (name == "text_chars" and value < 1):
            raise ScenarioError(f"{name} is at least 1, and show at most keep = {self.keep}")
        if value == "from_followed":
            self._network()
        setattr(self, name, None if value == "nothing" else value)

    def _network(self) -> Network:
        network = self.world.parts.get(self._network_name)
        if not isinstance(network, Network):
            raise ScenarioError(
                f"part '{self.name}': from_followed needs a Network named '{self._network_name}' in the world"
            )
        return network

    def apart(self, tick: int, acts: Mapping[str, Batch]) -> Mapping[str, NDArray[np.bool_ | np.int8]]:
        """Likes of posts that are there as the tick begins, where it is known whether they are kept at the like's turn.

        Posts and reposts change nothing else of a like: one whose post is kept is taken first, any other one last. A
        post is written where nothing is wrong with it; whether replies and reposts are, other posts may decide, so
        these may count and may not. Whoever likes a post that the tick may write has all likes taken in order: it may
        show what another one names.
        """
        kinds = ("post", "repost", "like")
        own = all(getattr(type(self), one) is getattr(Feed, one) for one in kinds)
        if "like" not in acts or not acts.keys() <= set(kinds) or not own:
            return {}
        likes, posts, others = acts["like"], self.posts, [batch for kind, batch in acts.items() if kind != "like"]
        named = posts_named(likes, posts.oldest, posts.written + sum(map(len, others)))
        new = named >= posts.written
        originals = posts.originals(np.where(new, NONE, named))
        room = originals + posts.keep - posts.written  # how many posts may be written before it is dropped
        most = acting_before(likes.at, others)
        told = np.where((originals < posts.oldest) | (most > room), LAST, FIRST).astype(np.int8)
        if (torn := (told == LAST) & (originals >= posts.oldest)).any():
            told[torn & (self._sure(acts.get("post")).searchsorted(likes.at) <= room)] = 0
        if new.any():
            told[np.isin(likes.agents, likes.agents[new])] = 0
        return {"like": told}

    def _sure(self, posts: Batch | None) -> NDArray[np.intp]:
        """Where those of these posts stand that are written whatever else is."""
        if posts is None:
            return np.empty(0, np.intp)
        return posts.at[np.array([len(args) == 1 and not self._unfit(args) for args in posts.args], np.bool_)]

    @action
    def post(self, tick: int, batch: Batch) -> Iterable[tuple[int, Any]]:
        """`post(text=, reply_to=None)`: write a post, or a reply to one."""
        notices = []
        first = self.posts.written
        authors: list[int] = []
        texts: list[str] = []
        parents: list[int] = []
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            text, parent = args.get("text"), None
            if len(args) > 1 or type(text) is not str or len(text) > self.text_chars or not text or text.isspace():
                if reason := self._unfit(args, len(texts)):
                    batch.refuse(i, reason)
                    continue
                text, parent = args["text"], args.get("reply_to")
            if self.notify and parent is not None:
                author = self.posts.author_of(parent) if parent < first else authors[parent - first]
                if author != agent:
                    notices.append((author, {"reply": first + len(texts), "to": parent, "text": text}))
            authors.append(agent)
            texts.append(text)
            parents.append(NONE if parent is None else parent)
        self.posts.extend(authors, tick, texts, parents)
        self._popular = None
        return notices

    def _unfit(self, args: dict[str, Any], ahead: int = 0) -> str:
        """Why a post cannot be written, once so many others of its batch are; '' where it can."""
        text, parent = args.get("text"), args.get("reply_to")
        if not args.keys() <= {"text", "reply_to"} or type(text) is not str:
            return "bad_arguments"
        if parent is not None and type(parent) is not int:
            return "bad_arguments"
        if not text.strip():
            return "empty_text"
        if len(text) > self.text_chars:
            return "long_text"
        return "" if parent is None or self.posts.kept(parent, ahead) else "unknown_post"

    @action
    def repost(self, tick: int, batch: Batch) -> None:
        """`repost(post=)`: show a post of another (or one's own) to one's followers."""
        for agent, original in self._named(batch):
            if original is not None:
                text, author = self.posts.text_of(original), self.posts.author_of(original)
                self.posts.count_repost(original)
                self.posts.add(agent, tick, text, original=original, original_author=author)
        self._popular = None

    @action
    def like(self, tick: int, batch: Batch) -> None:
        """`like(post=)`: like a post, once."""
        originals = self.posts.originals(posts_named(batch, self.posts.oldest, self.posts.written))
        for i in np.flatnonzero(originals < self.posts.oldest).tolist():
            batch.refuse(i, "unknown_post" if _names_post(batch.args[i]) else "bad_arguments")
        rows = np.flatnonzero(originals >= self.posts.oldest)
        new = self.posts.like_each(originals[rows], batch.agents[rows])
        again = np.zeros(len(batch), np.bool_)
        again[rows[~new]] = True
        batch.refuse_all(again, "already_liked")
        self._popular = None

    def _named(self, batch: Batch) -> Iterable[tuple[int, int | None]]:
        """The agent and the original of the post that each action names; None where it was refused."""
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            if not _names_post(args):
                batch.refuse(i, "bad_arguments")
                yield agent, None
                continue
            post: int = args["post"]
            original = self.posts.original_of(post) if self.posts.kept(post) else NONE
            if original == NONE or (original != post and not self.posts.kept(original)):
                batch.refuse(i, "unknown_post")
                yield agent, None
                continue
            yield agent, original

    def observe(self, tick: int, agents: NDArray[np.int32]) -> Mapping[str, Sequence[Any]] | None:
        """What `sees` names, under that name."""
        if self.sees is None:
            return None
        ids = agents.tolist()
        views = {"latest": self.latest, "from_followed": self.from_followed, "popular": self.popular}
        return {self.sees: views[self.sees](ids, [{}] * len(ids))}

    @query
    @as_it_stands
    def latest(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> Sequence[list[dict[str, Any]]]:
        """`latest(n=show)`: the newest posts of all, newest first."""
        counts = self._counts(args)
        return self._first(self.posts.newest(int(counts.max(initial=0))), counts)

    @query
    @as_it_stands
    def popular(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> Sequence[list[dict[str, Any]]]:
        """`popular(n=show)`: the kept posts with most likes and reposts, newer ones first among equals."""
        counts = self._counts(args)
        if self._popular is None:
            self._popular = self.posts.by_score()
        return self._first(self._popular[: int(counts.max(initial=0))], counts)

    def _first(self, posts: NDArray[np.int64], counts: NDArray[np.int64]) -> Picked:
        """The first ones of these posts, so many for each."""
        places = np.broadcast_to(np.arange(len(posts)), (len(counts), len(posts)))
        return Picked(Rows(self._columns(posts)), places, np.minimum(len(posts), counts))

    @query
    @as_it_stands
    def from_followed(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> Sequence[list[dict[str, Any]]]:
        """`from_followed(n=show)`: the newest posts and reposts of those whom the agent follows, newest first."""
        counts = self._counts(args)
        network = self._network()
        found = newest_of_followed(self.posts, network.out, np.asarray(agents, np.int64), int(counts.max(initial=0)))
        return self._lists(found, counts)

    def _lists(self, found: NDArray[np.int64], counts: NDArray[np.int64]) -> Picked:
        """Posts by line, of which NONE stand last: the first ones, so many of each line."""
        ids, places = distinct_posts(found)
        ends = np.minimum((found != NONE).sum(axis=1), counts)
        return Picked(Rows(self._columns(ids)), places, ends)

    @query
    @as_it_stands
    def by(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """`by(author=, n=show)`: an agent's newest posts and reposts, newest first."""
        return [self._by(**one) for one in args]

    def _by(self, /, **args: Any) -> list[dict[str, Any]]:
        return self._shown(self.posts.of_author(*self._author(**args)))

    def _author(self, /, *, author: Any = None, **rest: Any) -> tuple[int, int]:
        """Whose posts are asked for, and how many."""
        n = self._count(**rest)
        if type(author) is not int or not 0 <= author < self.world.agents:
            raise ValueError(f"author is an agent's id from 0 to {self.world.agents - 1}, got {author!r}")
        return author, n

    @query
    @as_it_stands
    def thread(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """`thread(post=, n=show)`: the post, and then up to n replies to it, oldest first."""
        return [self._thread(**one) for one in args]

    def _thread(self, /, **args: Any) -> list[dict[str, Any]]:
        post, n = self._root(**args)
        return self._shown([post, *self.posts.replies_to(post, n)])

    def _root(self, /, *, post: Any = None, **rest: Any) -> tuple[int, int]:
        """Which post is asked for, and how many replies."""
        n = self._count(**rest)
        if type(post) is not int or not self.posts.kept(post):
            raise ValueError(f"there is no post {post!r}, or it is kept no longer")
        return post, n

    def _counts(self, args: Sequence[dict[str, Any]]) -> NDArray[np.int64]:
        """How many posts are asked for, by each of these arguments of a query."""
        return of_each(args, lambda one: self._count(**one))

    def _count(self, /, *, n: Any = None, **rest: Any) -> int:
        n = self.show if n is None else n
        if rest or type(n) is not int or not 1 <= n <= self.keep:
            raise ValueError(f"n is how many posts to show, from 1 to {self.keep}, got {n!r} {rest or ''}")
        return n

    def grow(self, ids: NDArray[np.int32]) -> None:
        """The newborns, who have posted nothing. Posts of those who leave stay."""
        self.posts.grow(len(ids))

    def _shown(self, posts: NDArray[np.int64] | Sequence[int]) -> list[dict[str, Any]]:
        return Rows(self._columns(np.asarray(posts, dtype=np.int64))).listed()

    def _columns(self, posts: NDArray[np.int64]) -> dict[str, Column]:
        """What is shown of these posts, in columns."""
        return self.posts.shown(posts)

    def digest(self) -> bytes:
        """The posts' digest, kept as they change."""
        return self.posts.digest()

    def state(self) -> dict[str, Any]:
        """The kept posts and their likes."""
        return self.posts.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of a feed that keeps as many posts. Raises ScenarioError for another."""
        if state["keep"] != self.keep or len(state["last"]) != self.world.agents:
            raise ScenarioError(
                f"part '{self.name}' keeps {self.keep} posts of {self.world.agents} agents; "
                f"the checkpoint's keeps {state['keep']} of {len(state['last'])}"
            )
        self.posts.restore(state)
        self._popular = None


def _names_post(args: Mapping[str, Any]) -> bool:
    return len(args) == 1 and type(args.get("post")) is int


def posts_named(batch: Batch, first: int, end: int) -> NDArray[np.int64]:
    """The post that each of these names, of those from `first` to before `end`; NONE for others and for no post."""
    if batch.in_columns() == frozenset({"post"}) and (posts := batch.column("post")).dtype.kind == "i":
        return np.where(_within(posts, first, end), posts, NONE)
    fit = [
        post if type(post := one.get("post")) is int and first <= post < end and len(one) == 1 else NONE
        for one in batch.args
    ]
    return np.array(fit, np.int64)


def acting_before(at: NDArray[np.intp], batches: Sequence[Batch]) -> NDArray[np.intp]:
    """How many actions of these batches act before each of these places among the part's actions of the tick."""
    return np.sort(np.concatenate([np.empty(0, np.intp), *(batch.at for batch in batches)])).searchsorted(at)


def _within(posts: NDArray[np.int64], first: int, end: int) -> NDArray[np.bool_]:
    return (posts >= first) & (posts < end)
