"""A platform: a feed with communities, shares along cascades, recommenders, attention and moderation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from populace.core.errors import ScenarioError
from populace.env.digest import join_digests
from populace.env.feed.acting import MOST_INTEREST, ActingFeed
from populace.env.feed.candidates import Source
from populace.env.feed.cascades import cascades, shown_cascade
from populace.env.feed.checking import Moderator
from populace.env.feed.options import (
    SETTABLE,
    Community,
    Moderation,
    PlatformSettings,
    Removal,
    check_communities,
    check_setting,
)
from populace.env.feed.posts import NONE, unless_none
from populace.env.feed.ranking import Ranking
from populace.env.feed.recommenders import READY, Recommender, Score
from populace.env.feed.records import KINDS, LABELS, Records
from populace.env.network.part import Network
from populace.env.part import Opening, as_it_stands, query, signal
from populace.env.picked import Column


class Platform(ActingFeed):
    """A feed of which recommenders show posts to each reader, and which may be moderated.

    Agents act with `post(text=, reply_to=None, community=None, true=None, vector=None)`, `share(post=)` (also called
    `repost`), `quote(post=, text=, true=None)`, `like(post=)`, `flag(post=)`, `mute(agent=)`, `unmute(agent=)`,
    `read(posts=[...])` and, where they moderate a community, `remove(post=)`. What is posted in a tick can be reacted
    to from the next one on. Beside those of a feed, refusals are `suspended`, `no_attention` (the agent's reactions in
    this tick are used up), `hop_limit`, `already_shared`, `already_flagged`, `own_post`, `unknown_community`,
    `no_moderator`, `already_removed`, `unknown_agent`, `already_muted` and `not_muted`.

    `populace.env.feed.browsing.browse` is a loop for a reader's turn.

    Agents see as `shown` the posts that the recommender `sees` ranks highest for them ('recency', 'followed',
    'popularity', 'interest', 'engagement', 'mix', one of `recommenders`, or 'nothing'). They are never shown what is
    removed, what is by an author who is suspended or whom they muted, and in ranked feeds what is their own. A share is
    shown to those who follow whoever shared. Beside what a feed shows of a post there are `comments` (replies and
    quotes), `hop` (shares between it and its original), `community`, `quote_of` and `label` (None, 'disputed' by
    readers' flags, or 'false' by a fact-checker).

    Whether a post is true is hidden from agents: its author declares it in the act (`true=`), or it is drawn, false
    with probability `false_share` (None: it is unknown). `moderation` is 'none', 'community', 'third_party' or
    'hybrid', as `populace.env.feed.checking` has it, with `flags_to_label`, `check_share`, `check_delay` (ticks) and
    `check_accuracy`. What follows from a label: readers may react to it; `downrank` keeps it from that share of
    readers; `removal` takes down what the checker finds false ('checked'), all that is labelled, or 'nothing'. Each
    labelled post is a strike, and `strikes_to_suspend` of them (0: never) suspend the author for `suspension_ticks`
    (0: for good).

    `attention` is a number or names a public int field: how many posts an agent is shown, and how often it may react
    (like, share, quote, reply, flag) in a tick; `reactions` limits these for all (0: no limit). `memory` is how many
    posts that an agent `read` are remembered and not shown again. `interests` has a vector for each agent; a post's
    vector is the act's, else its author's interests; a reader's interests move by the share `learning` towards what it
    likes or shares. `pool` is how many candidates recommenders are given of each source. A share that would be
    further from the original than `hop_limit` (0: no limit) is refused.

    Levers may set all settings of `populace.env.PlatformSettings`; `suspended` are ids that are suspended while it
    holds, `rules` the rules shown of communities, by name.
    """

    settable: Mapping[str, Any] = SETTABLE
    unsaved = ("_popular", "_spent", "_ranking", "_removing", "_moderator", "_before")
    sees: str  # type: ignore[assignment]
    moderation: Moderation = "none"
    flags_to_label: int = 3
    check_share: float = 0.0
    check_delay: int = 1
    check_accuracy: float = 1.0
    downrank: float = 0.0
    removal: Removal = "nothing"
    strikes_to_suspend: int = 0
    suspension_ticks: int = 0

    def __init__(
        self,
        keep: int = 10_000,
        show: int = 10,
        *,
        recommenders: Mapping[str, Recommender | Score] | None = None,
        pool: int = 200,
        communities: Sequence[Community] = (),
        interests: ArrayLike | None = None,
        attention: int | str | None = None,
        memory: int = 0,
        network: str = "network",
        name: str | None = None,
        **settings: Unpack[PlatformSettings],
    ) -> None:
        """Raises ScenarioError, naming the setting, for what cannot be."""
        super().__init__(keep, show, network=network, name=name)
        where = f"{type(self).__name__}(name='{self.name}')"
        named = (recommenders or {}).items()
        self.recommenders: dict[str, Recommender] = dict(READY) | {
            key: one if isinstance(one, Recommender) else Recommender(one) for key, one in named
        }
        self.communities = tuple(communities)
        self._numbers = check_communities(where, self.communities)
        self._interests = None if interests is None else np.asarray(interests, np.float32)
        if self._interests is not None and (
            self._interests.ndim != 2 or not (np.abs(self._interests) <= MOST_INTEREST).all()
        ):
            raise ScenarioError(
                f"{where}: interests are finite numbers up to {MOST_INTEREST:g} either way, a row an agent, got "
                f"{self._interests.shape}"
            )
        if type(memory) is not int or type(pool) is not int or memory < 0 or pool < 1:
            raise ScenarioError(f"{where}: memory is at least 0 and pool at least 1, got {memory!r} and {pool!r}")
        if not (attention is None or type(attention) is str or (type(attention) is int and attention >= 0)):
            raise ScenarioError(f"{where}: attention is a number of posts, a public field's name, or None")
        self.attention, self.memory, self.pool = attention, memory, pool
        self.rules: dict[str, str] = {}
        self.suspended = []
        self.sees = "recency"
        for key, value in settings.items():
            self._check(where, key, value)
            setattr(self, key, value)
        self._begin(0, 0)

    def _check(self, where: str, name: str, value: Any) -> None:
        check_setting(where, name, value)
        if name == "show" and value > self.keep:
            raise ScenarioError(f"{where}: show is at most keep = {self.keep}, got {value}")
        if name == "sees" and value not in (*self.recommenders, "nothing"):
            there = ", ".join((*self.recommenders, "nothing"))
            raise ScenarioError(f"{where}: sees='{value}' is no recommender; there are: {there}")
        if name == "rules" and value.keys() - self._numbers.keys():
            raise ScenarioError(f"{where}: rules for {sorted(value)}; the communities are: {', '.join(self._numbers)}")

    def _begin(self, agents: int, seed: int) -> None:
        size = 0 if self._interests is None else self._interests.shape[1]
        self._seed = seed
        self.records = Records(self.keep, agents, size, self.memory)
        self._moderator = Moderator(self, self.posts, self.records, seed)
        self._next_tick()

    def _next_tick(self) -> None:
        self._spent: dict[int, int] = {}
        self._removing: list[int] = []
        self._ranking: Ranking | None = None
        self._before = self.posts.written

    def open(self, opening: Opening) -> None:
        """Start without posts. ScenarioError where interests, moderators or budgets fit no agents."""
        super().open(opening)
        self._begin(opening.agents, opening.seed)
        where = f"part '{self.name}'"
        for one in self.communities:
            if bad := [agent for agent in one.moderators if not 0 <= agent < opening.agents]:
                raise ScenarioError(f"{where}: community '{one.name}' is moderated by {bad[0]}, who is no agent")
        if self._interests is not None:
            if len(self._interests) != opening.agents:
                raise ScenarioError(
                    f"{where}: interests of {len(self._interests)} agents, and there are {opening.agents}"
                )
            for name, column in zip(self.records.interests.names, self._interests.T, strict=True):
                self.records.interests[name][:] = column
        if isinstance(self.attention, str):
            fields = opening.fields
            known = set(fields) | {name for one in fields.values() if isinstance(one, Mapping) for name in one}
            if self.attention not in known:
                raise ScenarioError(f"{where}: attention='{self.attention}' names no public field; there are: {known}")
        if self.sees == "followed":
            self._network()

    def set_parameter(self, name: str, value: Any) -> None:
        """Take a value of `settable`. Raises ScenarioError for one that it cannot have."""
        self._check(f"part '{self.name}'", name, value)
        if value == "followed":
            self._network()
        setattr(self, name, value)
        self._ranking = None

    def ranking(self) -> Ranking:
        """What ranks posts in this tick."""
        network = self.world.parts.get(self._network_name)
        follows = network.out if isinstance(network, Network) else None
        if self._ranking is None or self._ranking.source.follows is not follows:
            source = Source(self.world, self.posts, self.records, follows, self._seed, self.suspended)
            self._ranking = Ranking(source, self.pool, self.downrank)
        return self._ranking

    def ranked(self, by: str, agents: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        """The ids of the n posts that a recommender ranks highest for each agent: (agents, n), best first, then -1."""
        if by == "followed":
            self._network()
        return self.ranking().best(by, self.recommenders[by], agents, n)

    def observe(self, tick: int, agents: NDArray[np.int32]) -> Mapping[str, Sequence[Any]] | None:
        """What `sees` ranks highest, as `shown`; no more than the agent's attention."""
        if self.sees == "nothing":
            return None
        budgets = self.budgets(agents)
        most = np.full(len(agents), self.show, np.int64)
        counts = most if budgets is None else np.clip(np.array(budgets, np.int64), 0, most)
        return {"shown": self._lines(self.sees, agents, counts)}

    def _lines(
        self, by: str, agents: Sequence[int] | NDArray[np.integer], counts: NDArray[np.int64]
    ) -> Sequence[list[dict[str, Any]]]:
        n = int(counts.max(initial=0))
        found = self.ranked(by, np.asarray(agents, np.int64), n) if n else np.empty((len(counts), 0), np.int64)
        return self._lists(found, counts)

    def _counted(
        self, by: str, agents: Sequence[int], args: Sequence[dict[str, Any]]
    ) -> Sequence[list[dict[str, Any]]]:
        return self._lines(by, agents, self._counts(args))

    @query
    def ranked_by(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """`ranked_by(recommender=, n=show)`: what a recommender of this name shows."""
        for one in args:
            if type(one.get("recommender")) is not str or one["recommender"] not in self.recommenders:
                raise ValueError(
                    f"recommender is one of {', '.join(self.recommenders)}, got {one.get('recommender')!r}"
                )
        lines: list[list[dict[str, Any]]] = []
        for agent, one in zip(agents, args, strict=True):
            rest = {key: value for key, value in one.items() if key != "recommender"}
            lines += self._counted(one["recommender"], [agent], [rest])
        return lines

    @query
    @as_it_stands
    def latest(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> Sequence[list[dict[str, Any]]]:
        """`latest(n=show)`: the newest posts, newest first."""
        return self._counted("recency", agents, args)

    @query
    @as_it_stands
    def popular(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> Sequence[list[dict[str, Any]]]:
        """`popular(n=show)`: the posts with most likes and shares, newer ones first among equals."""
        return self._counted("popularity", agents, args)

    @query
    @as_it_stands
    def from_followed(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> Sequence[list[dict[str, Any]]]:
        """`from_followed(n=show)`: the newest posts and shares of those whom the agent follows, newest first."""
        return self._counted("followed", agents, args)

    @query
    def by(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """`by(author=, n=show)`: an agent's newest posts and shares, newest first."""
        found = []
        for agent, one in zip(agents, args, strict=True):
            author, n = self._author(**one)
            found.append(self._shown(self._open_to_reader(agent, self.posts.of_author(author, self.keep))[:n]))
        return found

    @query
    def thread(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """`thread(post=, n=show)`: the post, and then up to n replies to it, oldest first."""
        found = []
        for agent, one in zip(agents, args, strict=True):
            post, n = self._root(**one)
            if not len(self._open_to_reader(agent, [post])):
                raise ValueError(f"there is no post {post!r}, or it is kept no longer")
            replies = self._open_to_reader(agent, self.posts.replies_to(post, self.keep))
            found.append(self._shown([post, *replies[:n].tolist()]))
        return found

    @query
    def community(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """`community(name=, n=show)`: the newest posts in a community, newest first."""
        found = []
        for agent, one in zip(agents, args, strict=True):
            name = one.get("name")
            number = self._numbers.get(name) if type(name) is str else None
            if number is None:
                raise ValueError(f"name is one of {', '.join(self._numbers)}, got {name!r}")
            n = self._count(**{key: value for key, value in one.items() if key != "name"})
            posts = self.ranking().originals()
            posts = posts[self.records.of_posts("community", posts) == number]
            found.append(self._shown(self._open_to_reader(agent, posts)[:n]))
        return found

    @query
    def community_rules(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """`community_rules()`: the communities, as {'name', 'rules', 'moderators'}."""
        if any(args):
            raise ValueError("community_rules has no arguments")
        shown = [
            {"name": one.name, "rules": self.rules.get(one.name, one.rules), "moderators": list(one.moderators)}
            for one in self.communities
        ]
        return [shown] * len(agents)

    @query
    def cascade(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """`cascade(post=)`: how far a post, or what a share shows, has gone: {'post', 'size', 'depth', 'virality'}."""
        found = []
        for agent, one in zip(agents, args, strict=True):
            post, _ = self._root(**one)
            original = self.posts.original_of(post)
            if not self.posts.kept(original) or not len(self._open_to_reader(agent, [original])):
                raise ValueError(f"there is no post {post!r}, or it is kept no longer")
            found.append(shown_cascade(self.posts, self.records, original))
        return found

    def _open_to_reader(self, agent: int, posts: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Which of these posts are not hidden, nor by or of somebody whom the agent muted."""
        ids = np.asarray(posts, np.int64)
        mutes = self.records.mutes.array()
        muted = mutes[mutes[:, 0] == agent, 1]
        names = ("author", "original_author")
        by_muted = np.isin(np.stack([self.posts.column(name, ids) for name in names]), muted).any(axis=0)
        return ids[~self.ranking().hidden(ids) & ~by_muted]

    def _columns(self, posts: NDArray[np.int64]) -> dict[str, Column]:
        original = self.posts.column("original", posts)
        of = np.where(original >= self.posts.oldest, original, posts)
        community, label = self.records.of_posts("community", of), self.records.of_posts("label", posts)
        return {
            **super()._columns(posts),
            "comments": self.records.of_posts("comments", of),
            "hop": self.records.of_posts("hop", posts),
            "community": [None if one == NONE else self.communities[one].name for one in community.tolist()],
            "quote_of": unless_none(self.records.of_posts("quote", of)),
            "label": [LABELS[one] for one in label.tolist()],
        }

    def advance(self, tick: int) -> Iterable[tuple[int, Any]]:
        """Take posts down, check and label; where `notify`, authors are told what was labelled."""
        super().advance(tick)
        self.take_down()
        told = self._moderator.end_tick(tick)
        self._next_tick()
        return told if self.notify else []

    def grow(self, ids: NDArray[np.int32]) -> None:
        """The newborns, who have posted nothing and have no interests yet."""
        super().grow(ids)
        self.records.grow(len(ids))

    def count(self, kind: str, *, true: bool | None = None) -> int:
        """How many there have been, of posts of one truth (None: of all), for outcomes.

        Kinds are posts (no shares), likes, shares, comments, quotes, flags, views, labels, removals, and engagement
        (likes, shares, comments and quotes). Raises ValueError for another.
        """
        kinds = ("likes", "shares", "comments", "quotes") if kind == "engagement" else (kind,)
        if not set(kinds) <= set(KINDS):
            raise ValueError(f"kind is 'engagement' or one of {', '.join(KINDS)}, got {kind!r}")
        of = self.records.totals if true is None else self.records.totals[int(true)][None]
        return int(sum(of[:, KINDS.index(one)].sum() for one in kinds))

    def cascades(self) -> dict[str, NDArray[Any]]:
        """The kept originals in columns, with size, depth, counts, truth and label: `populace.env.feed.cascades`."""
        return cascades(self.posts, self.records)

    def margin(self, kind: str) -> int:
        """By how much the count of a kind is higher of true posts than of false ones, for outcomes; see `count`."""
        return self.count(kind, true=True) - self.count(kind, true=False)

    @signal
    def engaged(self) -> NDArray[np.int64]:
        """Reactions (likes, shares, comments, quotes) that each agent's posts have had, for outcomes and triggers."""
        return self.records.accounts["engaged"][: self.records.accounts.written].astype(np.int64)

    @signal
    def strikes(self) -> NDArray[np.int64]:
        """How often a post of each agent was taken down or found false, as `strikes_to_suspend` counts it."""
        return self.records.accounts["strikes"][: self.records.accounts.written].astype(np.int64)

    @signal
    def flagged(self) -> NDArray[np.int64]:
        """How often others have flagged each agent's posts that are kept: a lever may suspend who has many."""
        kept = self.posts.ids()
        flags = self.records.posts["flags"][self.records.posts.places(kept)]
        found = np.bincount(self.posts.column("author", kept), flags, self.world.agents)
        return found.astype(np.int64)

    def digest(self) -> bytes:
        """The digests of posts and records, kept as they change."""
        return join_digests(super().digest(), self.records.digest())

    def state(self) -> dict[str, Any]:
        """Posts and likes, and what the platform keeps beside them."""
        return {**super().state(), "platform": self.records.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of a platform that keeps the same. Raises ScenarioError for another."""
        super().restore(state)
        had, own = (
            set(one["seen"]["columns"]) | set(one["vectors"]["columns"])
            for one in (state["platform"], self.records.state())
        )
        if had != own:
            raise ScenarioError(f"part '{self.name}': the checkpoint has another memory, or interests of another size")
        self.records.restore(state["platform"])
        self._moderator = Moderator(self, self.posts, self.records, self._seed)
        self._next_tick()
