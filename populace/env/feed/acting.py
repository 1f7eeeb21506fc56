"""What agents do on a platform: posting, sharing, quoting, liking, flagging, muting, reading, moderating."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from populace.core.draws import words
from populace.env.feed.checking import Moderator
from populace.env.feed.options import Community
from populace.env.feed.part import Feed, acting_before, posts_named
from populace.env.feed.posts import NONE
from populace.env.feed.records import BY_MODERATOR, UNKNOWN, Records
from populace.env.part import FIRST, Batch, action

MOST_INTEREST: Final = 1e15
"""The most that an entry of a vector or of interests may be, either way: products of them stay finite in float32."""
_TRUTHS: Final[Mapping[bool | None, int]] = {False: 0, True: 1, None: UNKNOWN}
_TRUTH_TYPES: Final = (bool, type(None))
_WRITING: Final = frozenset({"post", "share", "repost", "quote"})


class _Written(NamedTuple):
    """A post that is written in a batch, and is put into the records at its end."""

    post: int
    author: int
    truth: int
    community: int = NONE
    quote: int = NONE
    via: int = NONE
    hop: int = 0
    label: int = 0
    vector: list[float] | None = None


class ActingFeed(Feed):
    """The actions of `Platform`."""

    records: Records
    communities: tuple[Community, ...]
    attention: int | str | None
    memory: int
    reactions: int = 0
    hop_limit: int = 0
    learning: float = 0.0
    false_share: float | None = None
    suspended: list[int]
    _numbers: dict[str, int]
    _seed: int
    _before: int
    _spent: dict[int, int]
    _removing: list[int]
    _moderator: Moderator

    def apart(self, tick: int, acts: Mapping[str, Batch]) -> Mapping[str, NDArray[np.bool_ | np.int8]]:
        """Reads of posts of which none is dropped before their turn: what else is done changes nothing of them.

        An agent's reads are all taken first, or all in order: what it remembers goes by it.
        """
        own = all(getattr(type(self), kind, None) is getattr(ActingFeed, kind, None) for kind in acts)
        if "read" not in acts or not own:
            return {}
        reads, posts = acts["read"], self.posts
        most = acting_before(reads.at, [batch for kind, batch in acts.items() if kind in _WRITING])
        first = np.fromiter((self._oldest_read(args.get("posts")) for args in reads.args), np.int64, len(reads))
        stand = most <= first + posts.keep - posts.written
        torn = np.isin(reads.agents, reads.agents[~stand])
        return {"read": np.where(torn, 0, FIRST).astype(np.int8)}

    def _oldest_read(self, posts: Any) -> int:
        """The oldest kept post among these and what they show; the newest there is where they are refused or none."""
        if type(posts) is not list or not posts or any(type(one) is not int for one in posts):
            return self.posts.written
        oldest = self.posts.oldest
        if not (oldest <= min(posts) and max(posts) < self._before):
            return self.posts.written
        return min(one for post in posts for one in (post, self.posts.original_of(post)) if one >= oldest)

    def barred(self, agent: int, tick: int) -> bool:
        """Whether an agent is suspended."""
        return self.records.accounts.value("until", agent) > tick or agent in self.suspended

    def known(self, post: int) -> bool:
        """Whether there was such a post as the tick began, and it is kept still."""
        return self.posts.oldest <= post < self._before

    def _open_to(self, post: int, tick: int) -> bool:
        """Whether a post is known and neither removed nor of somebody suspended, and what it shows is the same."""
        if not self.known(post) or self.records.posts.value("removed", post):
            return False
        original = self.posts.original_of(post)
        if not self.posts.kept(original) or self.barred(self.posts.author_of(post), tick):
            return False
        return original == post or not self.barred(self.posts.author_of(original), tick)

    def budgets(self, agents: NDArray[np.integer]) -> list[int] | None:
        """How many posts each of these may be shown in a tick, and react to; None without a limit."""
        if self.attention is None:
            return None
        if type(self.attention) is int:
            return [self.attention] * len(agents)
        given: list[int] = self.world.values_of(str(self.attention), agents).tolist()
        return given

    def _reacting(
        self, tick: int, batch: Batch, optional: frozenset[str] = frozenset()
    ) -> Iterator[tuple[int, int, int, int, dict[str, Any]]]:
        """Of each action that names a post to react to: its place, agent, post, original and arguments.

        Refuses the others; what is refused as the action is taken costs no attention.
        """
        budgets = self.budgets(batch.agents)
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            post = args.get("post")
            if self.barred(agent, tick):
                batch.refuse(i, "suspended")
            elif type(post) is not int or not args.keys() <= {"post"} | optional:
                batch.refuse(i, "bad_arguments")
            elif not self._open_to(post, tick):
                batch.refuse(i, "unknown_post")
            elif self._exhausted(agent, None if budgets is None else budgets[i]):
                batch.refuse(i, "no_attention")
            else:
                yield i, agent, post, self.posts.original_of(post), args

    def _exhausted(self, agent: int, budget: int | None) -> bool:
        spent = self._spent.get(agent, 0)
        return (budget is not None and spent >= budget) or 0 < self.reactions <= spent

    def _spend(self, agent: int) -> None:
        self._spent[agent] = self._spent.get(agent, 0) + 1

    def _engaged(self, kind: str, original: int) -> None:
        """Count a reaction to an original, and that its author was reacted to."""
        self.records.count(kind, original)
        self.records.accounts.add("engaged", self.posts.author_of(original))

    @action
    def post(self, tick: int, batch: Batch) -> Iterable[tuple[int, Any]]:
        """`post(text=, reply_to=None, community=None, true=None, vector=None)`: write a post, or a reply to one."""
        notices: list[tuple[int, Any]] = []
        written: list[_Written] = []
        budgets = self.budgets(batch.agents)
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            reason = self._unfit_post(agent, args, tick)
            parent = args.get("reply_to")
            if not reason and parent is not None and self._exhausted(agent, None if budgets is None else budgets[i]):
                reason = "no_attention"
            if reason:
                batch.refuse(i, reason)
                continue
            community = self._numbers.get(args.get("community"), NONE)  # type: ignore[arg-type]
            post = self._add(agent, tick, args["text"], parent=NONE if parent is None else parent)
            written.append(
                _Written(post, agent, _TRUTHS[args.get("true")], community=community, vector=args.get("vector"))
            )
            if parent is not None:
                self._spend(agent)
                self._comment("comments", parent)
                if self.notify and (author := self.posts.author_of(parent)) != agent:
                    notices.append((author, {"reply": post, "to": parent, "text": args["text"]}))
        self._put(written)
        return notices

    def _unfit_post(self, agent: int, args: dict[str, Any], tick: int) -> str:
        if self.barred(agent, tick):
            return "suspended"
        plain = {name: args[name] for name in args.keys() & {"text", "reply_to"}}
        if args.keys() - plain.keys() - {"community", "true", "vector"} or not self._fit_declared(args):
            return "bad_arguments"
        if reason := self._unfit(plain):
            return reason
        parent, community = args.get("reply_to"), args.get("community")
        if parent is not None and not self._open_to(parent, tick):
            return "unknown_post"
        return "unknown_community" if community is not None and community not in self._numbers else ""

    def _fit_declared(self, args: dict[str, Any]) -> bool:
        """Whether truth, community and vector are of their kinds."""
        vector, size = args.get("vector"), len(self.records.vectors.names)
        fits = vector is None or (
            isinstance(vector, list)
            and len(vector) == size
            and all(type(one) in (int, float) and abs(one) <= MOST_INTEREST for one in vector)
        )
        return fits and type(args.get("true")) in _TRUTH_TYPES and type(args.get("community")) in (str, type(None))

    def _add(self, agent: int, tick: int, text: str, **where: int) -> int:
        post = self.posts.add(agent, tick, text, **where)
        if (dropped := post - self.keep) >= 0:
            self.records.flags.drop(dropped)
            self.records.shares.drop(dropped)
        return post

    def _comment(self, kind: str, post: int) -> None:
        """Count a reply or a quote, to the original of what it is of."""
        original = self.posts.original_of(post)
        if self.posts.kept(original):
            self.records.posts.add("comments", original)
            self._engaged(kind, original)

    def _put(self, written: list[_Written]) -> None:
        """Take the rows of what was written into the records."""
        if not written:
            return
        records = self.records
        records.posts.extend(len(written))
        posts = np.array([one.post for one in written], np.int64)
        at = records.posts.places(posts)  # more posts than are kept share places, and the last ones count
        truth = np.array([one.truth for one in written], np.int8)
        originals = np.array([one.via == NONE for one in written])
        if self.false_share is not None:
            drawn = (words(self._seed, 0, f"{self.name}.truth", posts) >> np.uint64(11)).astype(np.float64) * 2.0**-53
            truth = np.where(originals & (truth == UNKNOWN), drawn >= self.false_share, truth).astype(np.int8)
        records.posts["truth"][at] = truth
        for name in ("community", "quote", "via", "hop", "label"):
            records.posts[name][at] = [getattr(one, name) for one in written]
        records.vectors.extend(len(written))
        for place, name in enumerate(records.vectors.names):
            own = records.interests[name][[one.author for one in written]].tolist()
            pairs = zip(written, own, strict=True)
            records.vectors[name][at] = [value if one.vector is None else one.vector[place] for one, value in pairs]
        self.records.count_posts(truth[originals])
        self._moderator.posted(posts[originals].tolist())

    @action
    def share(self, tick: int, batch: Batch) -> None:
        """`share(post=)`: show a post to one's followers, once; through whom it came is kept."""
        written: list[_Written] = []
        for i, agent, post, original, _ in self._reacting(tick, batch):
            hop = self.records.posts.value("hop", post) + 1
            if 0 < self.hop_limit < hop:
                batch.refuse(i, "hop_limit")
            elif not self.records.shares.add(original, agent):
                batch.refuse(i, "already_shared")
            else:
                self._share(agent, tick, post, original, hop, written)
        self._put(written)

    def _share(self, agent: int, tick: int, post: int, original: int, hop: int, written: list[_Written]) -> None:
        label, truth, community = (self.records.posts.value(name, original) for name in ("label", "truth", "community"))
        if hop > self.records.posts.value("depth", original):
            self.records.posts.put("depth", original, hop)
        self._engaged("shares", original)
        self._learn(agent, original)
        self._spend(agent)
        self.posts.count_repost(original)
        author, text = self.posts.author_of(original), self.posts.text_of(original)
        made = self._add(agent, tick, text, original=original, original_author=author)
        written.append(_Written(made, agent, truth, community=community, via=post, hop=hop, label=label))

    @action
    def repost(self, tick: int, batch: Batch) -> None:
        """`repost(post=)`: as `share`."""
        self.share(tick, batch)

    @action
    def quote(self, tick: int, batch: Batch) -> None:
        """`quote(post=, text=, true=None)`: a post of one's own about another."""
        written: list[_Written] = []
        for i, agent, _, original, args in self._reacting(tick, batch, frozenset({"text", "true"})):
            text, true = args.get("text"), args.get("true")
            if type(text) is not str or type(true) not in _TRUTH_TYPES:
                batch.refuse(i, "bad_arguments")
            elif reason := self._unfit({"text": text}):
                batch.refuse(i, reason)
            else:
                self._comment("quotes", original)
                self._spend(agent)
                written.append(_Written(self._add(agent, tick, text), agent, _TRUTHS[true], quote=original))
        self._put(written)

    @action
    def like(self, tick: int, batch: Batch) -> None:
        """`like(post=)`: like a post, once."""
        originals = self.posts.originals(posts_named(batch, self.posts.oldest, self.posts.written))
        liked = self.posts.liked(originals, batch.agents)
        for i, agent, _, original, _ in self._reacting(tick, batch):
            if not liked[i] and self.posts.like(original, agent):
                self._engaged("likes", original)
                self._learn(agent, original)
                self._spend(agent)
            else:
                batch.refuse(i, "already_liked")

    def _learn(self, agent: int, post: int) -> None:
        """An agent's interests move towards what it likes or shares."""
        interests, vectors = self.records.interests, self.records.vectors
        if self.learning and interests.names:
            at = post % self.keep
            for name in interests.names:
                had = interests[name][agent]
                interests.put(name, agent, had + self.learning * (vectors[name][at] - had))

    @action
    def flag(self, tick: int, batch: Batch) -> None:
        """`flag(post=)`: say that a post of another is false or against the rules, once."""
        for i, agent, _, original, _ in self._reacting(tick, batch):
            if self.posts.author_of(original) == agent:
                batch.refuse(i, "own_post")
            elif not self.records.flags.add(original, agent):
                batch.refuse(i, "already_flagged")
            else:
                self.records.posts.add("flags", original)
                self.records.count("flags", original)
                self._moderator.flagged(original)
                self._spend(agent)

    @action
    def mute(self, tick: int, batch: Batch) -> None:
        """`mute(agent=)`: be shown nothing of an agent any more."""
        for i, agent, other in self._other(batch):
            if not self.records.mutes.add(agent, other):
                batch.refuse(i, "already_muted")

    @action
    def unmute(self, tick: int, batch: Batch) -> None:
        """`unmute(agent=)`: be shown an agent's posts again."""
        for i, agent, other in self._other(batch):
            if not self.records.mutes.remove(agent, other):
                batch.refuse(i, "not_muted")

    def _other(self, batch: Batch) -> Iterator[tuple[int, int, int]]:
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            other = args.get("agent")
            if args.keys() != {"agent"} or type(other) is not int:
                batch.refuse(i, "bad_arguments")
            elif other == agent or not 0 <= other < self.world.agents:
                batch.refuse(i, "unknown_agent")
            else:
                yield i, agent, other

    @action
    def read(self, tick: int, batch: Batch) -> None:
        """`read(posts=[...])`: say which posts were read. They count as viewed; with `memory` each counts once."""
        agents: list[int] = []
        read: list[int] = []
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            posts = args.get("posts")
            if args.keys() != {"posts"} or type(posts) is not list or any(type(one) is not int for one in posts):
                batch.refuse(i, "bad_arguments")
            elif posts and not (self.posts.oldest <= min(posts) and max(posts) < self._before):
                batch.refuse(i, "unknown_post")
            else:
                agents += [agent] * len(posts)
                read += posts
        if not read:
            return
        ids = np.array(read, np.int64)
        original = self.posts.column("original", ids)
        ids = np.where(original == NONE, ids, original)
        if self.memory:
            ids = ids[self._remember(np.array(agents), ids)]
        self.records.viewed(ids[ids >= self.posts.oldest])

    def _remember(self, agents: NDArray[np.int64], posts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which posts these agents read anew, one after another, as far as each remembers; it does now."""
        seen, names = self.records.seen, [f"s{at}" for at in range(self.memory)]
        who, rows = np.unique(agents, return_inverse=True)
        held: list[list[int]] = np.stack([seen[name][who] for name in names], axis=1).tolist()
        place: list[int] = seen["next"][who].tolist()
        new = np.zeros(len(posts), np.bool_)
        for at, (row, post) in enumerate(zip(rows.tolist(), posts.tolist(), strict=True)):
            if post not in held[row]:
                new[at] = True
                held[row][place[row]] = post
                place[row] = (place[row] + 1) % self.memory
        changed = np.unique(rows[new])
        for name, column in zip(names, np.array(held, np.int64)[changed].T, strict=True):
            seen[name][who[changed]] = column
        seen["next"][who[changed]] = np.array(place, np.int64)[changed]
        seen.touch(who[changed])
        return new

    @action
    def remove(self, tick: int, batch: Batch) -> None:
        """`remove(post=)`: take a post down from a community that one moderates, as the tick ends."""
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            post = args.get("post")
            if args.keys() != {"post"} or type(post) is not int:
                batch.refuse(i, "bad_arguments")
                continue
            original = self.posts.original_of(post) if self.known(post) else NONE
            if not self.known(original):
                batch.refuse(i, "unknown_post")
                continue
            community = self.records.posts.value("community", original)
            if community == NONE or agent not in self.communities[community].moderators:
                batch.refuse(i, "no_moderator")
            elif original in self._removing or self.records.posts.value("removed", original) == BY_MODERATOR:
                batch.refuse(i, "already_removed")
            else:
                self._removing.append(original)

    def take_down(self) -> None:
        """Remove what moderators removed in the tick, with its shares."""
        taken = [post for post in self._removing if self.posts.kept(post)]
        self._removing = []
        if taken:
            rows = self.records.with_shares(self.posts, taken)
            self.records.posts["removed"][self.records.posts.places(rows)] = BY_MODERATOR
            self.records.posts.touch(rows)
            for post in taken:
                self.records.count("removals", post)
