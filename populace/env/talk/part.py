"""Conversations among agents: who is in one, who has the floor, what each hears, when and why it ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.draws import WORLD, Stream
from populace.core.errors import ScenarioError
from populace.env.digest import join_digests, state_digest
from populace.env.games.matching import Ids, random_groups, seated
from populace.env.part import Batch, Opening, Part, action, query
from populace.env.rounds import Exchange, GroupName, LastRound, Round
from populace.env.talk.conversation import (
    NO_TALK,
    NOBODY,
    Agreement,
    Conversation,
    Line,
    Terms,
    leave,
    opened,
    shown,
    take,
    unfit,
)
from populace.env.talk.protocols import Phase, Protocol, give_floor
from populace.env.talk.transcripts import ended_ring, ended_row, line_row, lines_ring
from populace.env.wholes import check_whole

By: TypeAlias = Literal["rounds", "acts"]
Matching: TypeAlias = Literal["random", "fixed"]

_MAX_MEMBERS: Final = 1_000


class Talk(Part):
    """Conversations, matched by the part or opened by agents, within a tick or a turn a tick.

    `matching` puts agents who are free (all, or those of the type `talkers`) into groups of `size`: `random`, anew for
    each conversation, or `fixed`, the same groups as long as all their members live; with `within`, only among agents
    who have one value of that public field. None leaves it to agents, who
    open one with `ctx.act("talk.begin", members=[...], topic="...")`; it begins in the next tick. An agent is in one
    conversation at a time. The order of members, who speaks first and who manages are drawn; who opens manages.

    By `rounds`, a conversation is held within a tick, `heard = await ctx.round("talk", said)`; by `acts` it takes a
    tick a turn, `ctx.act("talk.say", say=..., ...)`, and who has the floor next is sent {'conversation': number} and
    so is due. `populace.env.talk.converse` does either with the same code. A contribution is a text, or has `say`, `to`
    (a private turn: ids of those who hear it), `note` (for oneself), `raise_hand`, `next` (whom the manager names),
    `agree` and `leave`. Only who has the floor says something; all else is open to all members in every turn.

    `protocol` says who has the floor: `round_robin` (`alternate`), `all`, `manager`, `raise_hand`, a function, or a
    list of `Phase`s. A conversation ends as `agreement` (of `agreement`: all present, one, none), `cap` (turns), `left`
    (fewer than two are there), `silence`, `done` (phases are through) or, by acts, `deadline` (ticks). By rounds, a
    member whose turn has ended has left; by acts, one that lets the floor pass for `patience` ticks after word of it.

    What doesn't fit is refused: `bad_arguments`, `empty_text`, `long_text`, `not_your_turn`, `unknown_addressee`,
    `already_said`, `no_conversation`; of `begin` also `unknown_member`, `busy`, `too_few`. By rounds it is left out and
    counted under the same word.

    Agents see `conversation` (-1: none), `members`, `present`, `topic`, `manager`, `phase`, `turn`, `floor`,
    `speakers`, `lines` (those that they heard, the last `memory`), `notes` (their own), `over`. `transcript()` and
    `ended()` are tables of the last `keep` lines and conversations. Levers may set `cap` and `topic`.
    """

    name = "talk"
    unsaved = ("_said", "_fresh")
    settable: Mapping[str, Any] = {"cap": int, "topic": str}

    def __init__(
        self,
        size: int = 2,
        *,
        matching: Matching | None = "random",
        by: By = "rounds",
        protocol: str | Protocol | Sequence[Phase] = "round_robin",
        cap: int = 12,
        agreement: Agreement = "all",
        deadline: int | None = None,
        patience: int = 1,
        topic: str = "",
        memory: int = 100,
        notes: int = 10,
        text_chars: int = 4_000,
        keep: int = 10_000,
        talkers: str | None = None,
        within: str | None = None,
        name: str | None = None,
    ) -> None:
        """Raises ScenarioError for what cannot be."""
        super().__init__(name)
        known = (*get_args(Matching), None), get_args(By), get_args(Agreement)
        if matching not in known[0] or by not in known[1] or agreement not in known[2]:
            raise ScenarioError(
                f"Talk(matching={matching!r}, by={by!r}, agreement={agreement!r}): matching is random, fixed or None; "
                f"by is rounds or acts; agreement is {', '.join(get_args(Agreement))}"
            )
        where = type(self).__name__
        check_whole(where, 1, patience=patience, memory=memory, text_chars=text_chars, keep=keep, cap=cap)
        check_whole(where, 0, notes=notes)
        check_whole(where, 2, size=size)
        if size > _MAX_MEMBERS:
            raise ScenarioError(f"Talk(size={size}): is 2 to {_MAX_MEMBERS}")
        if deadline is not None:
            check_whole(where, 1, deadline=deadline)
            if by == "rounds":
                raise ScenarioError("Talk(deadline=...): counts ticks, so it is for by='acts'; by rounds set cap")
        listed = isinstance(protocol, Sequence) and not isinstance(protocol, str)
        self.phases: tuple[Phase, ...] = tuple(protocol) if listed else (Phase(protocol),)  # type: ignore[arg-type]
        if not self.phases or not all(isinstance(one, Phase) for one in self.phases):
            raise ScenarioError(f"Talk(protocol={protocol!r:.80}): a name, a function, or a list of Phase(...)")
        self.size = size
        self.matching = matching
        self.by = by
        self.heeds_blocks = by == "acts"  # which hold no rounds
        self.agreement = agreement
        self.deadline = deadline
        self.patience = patience
        self.topic = topic
        self.memory = memory
        self.notes = notes
        self.text_chars = text_chars
        self.keep = keep
        self.talkers = talkers
        self.within = within
        self.cap = self._capped(cap)
        self._manages = any(one.protocol == "manager" for one in self.phases)

    def _capped(self, cap: int) -> int:
        if not 1 <= cap <= 10_000:
            raise ScenarioError(f"cap is how many turns a conversation may have, 1 to 10000, not {cap}")
        self.rounds_per_tick = cap
        return cap

    def set_parameter(self, name: str, value: Any) -> None:
        """Take a value of `settable`. Raises ScenarioError for one that the constructor would refuse."""
        setattr(self, name, self._capped(value) if name == "cap" else value)

    def open(self, opening: Opening) -> None:
        """Start without conversations. Raises ScenarioError where there is no such type of agents."""
        if self.talkers is not None and self.talkers not in opening.counts:
            there = ", ".join(opening.counts) or "no types"
            raise ScenarioError(f"part '{self.name}': there are no agents of type {self.talkers!r}; there are {there}")
        self._seed = opening.seed
        self.spoken = np.zeros(opening.agents, np.int64)
        self.reasons: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self._lines, self._ended = lines_ring(self.keep), ended_ring(self.keep)
        self._numbered = 0
        self._begun = False
        self._talks: dict[int, Conversation] = {}
        self._of = np.full(opening.agents, NOBODY, np.int64)
        self._last: Ids = np.empty((0, self.size), np.int32)
        self._said: dict[int, Any] = {}
        self._held = NOBODY
        self._fresh: tuple[int, list[Conversation], Ids, dict[int, Conversation]] | None = None

    @property
    def _terms(self) -> Terms:
        return Terms(self.cap, self.agreement, self.text_chars, self.memory, self.notes)

    def transcript(self) -> dict[str, Any]:
        """The kept lines, oldest first.

        int64 columns `conversation`, `tick`, `turn`, `speaker`, `private` (0 or 1); lists `texts` and `ids` (who heard
        it, the speaker first).
        """
        return self._lines.columns()

    def ended(self) -> dict[str, Any]:
        """The kept conversations that have ended, oldest first.

        int64 columns `conversation`, `opened` and `ended` (ticks), `members`, `turns`, `lines`, `first_to_agree` (-1:
        nobody); lists `texts` (the reason) and `ids` (the members).
        """
        return self._ended.columns()

    def _floor(self, talk: Conversation) -> None:
        """Give the floor, by a draw that is the same whenever the turn is gone through."""
        give_floor(talk, self.phases, Stream(self._seed, WORLD, talk.tick, f"{self.name}/{talk.number}/{talk.turn}"))

    def _new(self, tick: int, number: int, members: list[int], topic: str, opener: int = NOBODY) -> Conversation:
        """A conversation of members in their drawn order; the opener manages it, or else the first."""
        manager = (opener if opener != NOBODY else members[0]) if self._manages else NOBODY
        talk = opened(number, tick, members, topic, manager)
        self._floor(talk)
        return talk

    def _matched(self, tick: int, busy: NDArray[np.bool_], first: int) -> tuple[list[Conversation], Ids]:
        """New conversations of who is free, numbered from `first`, and the groups to keep where they are fixed."""
        if self.matching is None:
            return [], self._last
        ids, key = self.world.ids(self.talkers), (self._seed, tick, f"{self.name}/match")
        if self.matching == "fixed":
            kept = self._last[np.isin(self._last, ids).all(axis=1)] if len(self._last) else self._last
            groups = np.concatenate((kept, *self._strata(ids[~np.isin(ids, kept)], key)))
            rows = groups[~busy[groups].any(axis=1)] if len(groups) else groups
        else:
            rows, groups = np.concatenate((self._last[:0], *self._strata(ids[~busy[ids]], key))), self._last
        rows = _shuffled(rows, self._seed, tick, f"{self.name}/order")
        return [self._new(tick, first + at, row, self.topic) for at, row in enumerate(rows.tolist())], groups

    def _strata(self, ids: Ids, key: tuple[int, int, str]) -> list[Ids]:
        """Groups of these, each among those alike where `within` says so."""
        if self.within is None or not len(ids):
            return [random_groups(ids, self.size, *key)]
        values = self.world.values_of(self.within, ids)
        return [random_groups(ids[values == one], self.size, *key) for one in np.unique(values)]

    def _now(self, tick: int) -> tuple[list[Conversation], Ids, dict[int, Conversation]]:
        """The conversations that begin in this tick, from the snapshot, by acts those of the first; and by member."""
        if self._fresh is None or self._fresh[0] != tick:
            planned = list(self._talks.values()) if self.by == "rounds" else []
            new: list[Conversation] = []
            groups = self._last
            if self.by == "rounds" or not self._begun:
                new, groups = self._matched(tick, self._of != NOBODY, self._numbered)
            talks = [*planned, *new]
            self._fresh = (tick, talks, groups, {member: talk for talk in talks for member in talk.present})
        return self._fresh[1:]

    def _begin(self, tick: int) -> None:
        """Called while the tick ends, first of all: by acts, the first tick's conversations become the part's state.

        By rounds they are held in this tick, so their members may plan another.
        """
        talks, groups, _ = self._now(tick)
        self._last = groups
        self._numbered = max([self._numbered, *(talk.number + 1 for talk in talks)])
        if self.by == "acts" and not self._begun:
            self._put(talks)
        elif self.by == "rounds" and self._held != tick:
            self._talks = {}
            self._of[:] = NOBODY
            self._held = tick
        self._begun = True

    def _put(self, talks: Iterable[Conversation]) -> None:
        for talk in talks:
            self._talks[talk.number] = talk
            self._of[talk.present] = talk.number
            self._numbered = max(self._numbered, talk.number + 1)

    @action
    def say(self, tick: int, batch: Batch) -> None:
        """`say(say=, to=, note=, raise_hand=, next=, agree=, leave=)`: one contribution in a tick, by acts."""
        self._begin(tick)
        terms = self._terms
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            talk = self._talks.get(int(self._of[agent])) if self.by == "acts" else None
            if talk is None or talk.tick > tick:
                batch.refuse(i, "no_conversation")
            elif reason := unfit(talk, terms, agent, args):
                batch.refuse(i, reason)
            elif agent in self._said:
                batch.refuse(i, "already_said")
            else:
                self._said[agent] = args

    @action
    def begin(self, tick: int, batch: Batch) -> list[tuple[int, Any]]:
        """`begin(members=, topic=)`: open a conversation with these agents; it begins in the next tick."""
        self._begin(tick)
        messages: list[tuple[int, Any]] = []
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            if reason := self._no_begin(agent, args):
                batch.refuse(i, reason)
                continue
            row = np.array([[agent, *args["members"]]], np.int32)
            members = _shuffled(row, self._seed, tick, f"{self.name}/begin")[0].tolist()
            talk = self._new(tick + 1, self._numbered, members, args.get("topic", self.topic), agent)
            self._put([talk])
            messages += self._called(talk, members)
        return messages

    def _no_begin(self, agent: int, args: dict[str, Any]) -> str:
        """Why a conversation cannot be opened; '' where it can."""
        members, topic = args.get("members"), args.get("topic", self.topic)
        if not args.keys() <= {"members", "topic"} or not isinstance(members, list | tuple) or type(topic) is not str:
            return "bad_arguments"
        if not members:
            return "too_few"
        if len(members) >= _MAX_MEMBERS or len(topic) > self.text_chars:
            return "bad_arguments"
        there = self.world.agents
        if any(type(one) is not int or not 0 <= one < there or one == agent for one in members):
            return "unknown_member"
        if len(set(members)) < len(members) or not np.isin(members, self.world.ids()).all():
            return "unknown_member"
        return "busy" if (self._of[[agent, *members]] != NOBODY).any() else ""

    def _called(self, talk: Conversation, whom: Iterable[int]) -> list[tuple[int, Any]]:
        """Word to members that a conversation waits for them; by rounds to all of them."""
        return [(one, {"conversation": talk.number}) for one in (whom if self.by == "rounds" else talk.speakers)]

    def advance(self, tick: int) -> list[tuple[int, Any]] | None:
        """By acts, end the turn of each conversation, close those that are over, and match who is free."""
        if self.by == "rounds":
            self._fresh = None
            return None
        self._begin(tick)
        said, self._said, self._fresh = self._said, {}, None
        called: list[tuple[int, Any]] = []
        for talk in [talk for talk in self._talks.values() if talk.tick <= tick]:
            self._turn(tick, talk, {one: said[one] for one in talk.members if one in said})
            called += self._called(talk, ())
        new, self._last = self._matched(tick + 1, self._of != NOBODY, self._numbered)
        self._put(new)
        return called + [word for talk in new for word in self._called(talk, ())]

    def _turn(self, tick: int, talk: Conversation, said: Mapping[int, Any]) -> None:
        """Go through one turn of a conversation by acts."""
        silent = not any(one in said for one in talk.speakers)
        waits = silent and (talk.missed + 1 < self.patience or tick == 0)  # nobody has had word in the first tick
        if silent and not waits:
            for speaker in list(talk.speakers):
                leave(talk, speaker)
        lines = take(talk, self._terms, said, waits)
        self._record(tick, talk, lines)
        if not talk.over and self.deadline is not None and tick - talk.tick + 1 >= self.deadline:
            talk.over, talk.speakers = "deadline", []
        if not talk.over and not waits:
            self._floor(talk)
        self._settle(tick, talk)

    def _record(self, tick: int, talk: Conversation, lines: Sequence[Line]) -> None:
        np.add.at(self.spoken, [one.speaker for one in lines], 1)
        self._lines.add([line_row(talk, tick, one) for one in lines])

    def _settle(self, tick: int, talk: Conversation) -> None:
        """Free who has left; close a conversation that is over."""
        if talk.over:
            self.reasons[talk.over] = self.reasons.get(talk.over, 0) + 1
            self._ended.add([ended_row(talk, tick)])
            self._talks.pop(talk.number, None)
        gone = [one for one in talk.members if self._of[one] == talk.number and (talk.over or one not in talk.present)]
        self._of[gone] = NOBODY

    def groups(self, tick: int) -> Mapping[GroupName, Iterable[int]]:
        """The conversations of the tick, by number, members in their drawn order."""
        return {talk.number: talk.present for talk in self._now(tick)[0]} if self.by == "rounds" else {}

    def round(self, now: Round) -> Mapping[int, Any] | LastRound:
        """Each member hears what `observe` shows, as of the end of the turn."""
        start = self._now(self.world.tick)[2][now.members[0]]
        talk, _, _ = self._gone_through(start, [*now.before, now.said])
        heard = {member: shown(talk, member) for member in now.said}
        return LastRound(heard, talk.over) if talk.over else heard

    def _gone_through(
        self, start: Conversation, rounds: Sequence[Mapping[int, Any]]
    ) -> tuple[Conversation, list[Line], dict[str, int]]:
        """A conversation as these rounds leave it, its lines, and what was left out, counted by reason."""
        talk: Conversation = msgspec.convert(msgspec.to_builtins(start), Conversation)
        lines: list[Line] = []
        refused: dict[str, int] = {}
        terms = self._terms
        for said in rounds:
            for member in [one for one in talk.present if one not in said]:
                leave(talk, member)
            if talk.over:
                break
            fit = {}
            for member, one in said.items():
                if reason := unfit(talk, terms, member, one):
                    refused[reason] = refused.get(reason, 0) + 1
                else:
                    fit[member] = one
            lines += take(talk, terms, fit)
            if not talk.over:
                self._floor(talk)
        return talk, lines, refused

    def rounds_ended(self, tick: int, exchanges: Sequence[Exchange]) -> None:
        """Take the conversations of the tick; one that its members left is over as `left`."""
        if self.by == "acts":
            return
        self._begin(tick)
        starts = {talk.number: talk for talk in self._now(tick)[0]}
        for one in exchanges:
            talk, lines, refused = self._gone_through(starts[int(one.group)], one.said)
            talk.over = talk.over or "left"
            self._record(tick, talk, lines)
            self._settle(tick, talk)
            for reason, count in refused.items():
                self.refused[reason] = self.refused.get(reason, 0) + count

    def observe(self, tick: int, agents: NDArray[np.int32]) -> Mapping[str, Sequence[Any]]:
        """What the class says."""
        new = self._now(tick)[2]
        rows = []
        for agent, number in zip(agents.tolist(), self._of[agents].tolist(), strict=True):
            talk = new.get(agent) or self._talks.get(number)
            rows.append({"by": self.by, **(NO_TALK if talk is None else shown(talk, agent))})
        return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}

    @query
    def heard(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """`heard(conversation=)`: the kept lines of a conversation that the one who asks said or heard."""
        found = []
        for agent, one in zip(agents, args, strict=True):
            number = one.get("conversation")
            if one.keys() != {"conversation"} or type(number) is not int:
                raise ValueError(f"conversation is a number, as talk.conversation is seen, got {one!r}")
            lines = self._lines.where("conversation", number)
            found.append(
                [
                    {"turn": row["turn"], "speaker": row["speaker"], "text": text}
                    for row, text, ids in lines
                    if agent in ids
                ]
            )
        return found

    def grow(self, ids: NDArray[np.int32]) -> None:
        """The newborns, who are free from their first tick on."""
        self.spoken = np.concatenate((self.spoken, np.zeros(len(ids), np.int64)))
        self._of = np.concatenate((self._of, np.full(len(ids), NOBODY, np.int64)))

    def shrink(self, ids: NDArray[np.int32]) -> None:
        """Who leaves the society leaves its conversation."""
        tick = self.world.tick
        for agent in ids.tolist():
            talk = self._talks.get(int(self._of[agent]))
            if talk is not None:
                leave(talk, agent)
                if not talk.over and not talk.speakers:
                    self._floor(talk)
                self._settle(tick, talk)

    def digest(self) -> bytes:
        """The tables' digests, kept as rows come, and that of the rest."""
        return join_digests(state_digest(self._open_ones()), self._lines.digest(), self._ended.digest())

    def state(self) -> dict[str, Any]:
        """The conversations that are open, and the tables."""
        return self._open_ones() | {"lines": self._lines.state(), "ended": self._ended.state()}

    def _open_ones(self) -> dict[str, Any]:
        return {
            "spoken": self.spoken.copy(),
            "reasons": dict(self.reasons),
            "refused": dict(self.refused),
            "numbered": self._numbered,
            "begun": self._begun,
            "held": self._held,
            "talks": [msgspec.to_builtins(talk) for talk in self._talks.values()],
            "of": self._of.copy(),
            "last": self._last.copy(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of a part with the same `keep` and `size`. Raises ScenarioError for another."""
        if max(len(state["lines"]["texts"]), len(state["ended"]["texts"])) > self.keep or (
            state["last"].shape[1:] != (self.size,)
        ):
            raise ScenarioError(
                f"part '{self.name}' keeps {self.keep} lines and has groups of {self.size}; the checkpoint has "
                f"{len(state['lines']['texts'])} lines and groups of {state['last'].shape[1:]}"
            )
        self.spoken, self._of, self._last = state["spoken"].copy(), state["of"].copy(), state["last"].copy()
        self.reasons, self.refused = dict(state["reasons"]), dict(state["refused"])
        self._numbered, self._begun, self._held = int(state["numbered"]), bool(state["begun"]), int(state["held"])
        talks = msgspec.convert(state["talks"], list[Conversation])
        self._talks = {talk.number: talk for talk in talks}
        self._lines.restore(state["lines"])
        self._ended.restore(state["ended"])
        self._said, self._fresh = {}, None


def _shuffled(rows: Ids, seed: int, tick: int, purpose: str) -> Ids:
    return seated(rows, seed, tick, purpose) if len(rows) else rows
