"""Who has the floor: a protocol gives the next speakers of a conversation, from what was said and a keyed draw.

Any function `(conversation, draw) -> ids` is one. It gives members who are present; nobody ends the phase. Turn-taking
after Sacks, Schegloff and Jefferson (1974, doi:10.1353/lan.1974.0010): the current speaker selects the next
(`manager`), the next selects himself (`raise_hand`), or turns are allotted beforehand (`round_robin`, `all`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from populace.core.draws import Stream
from populace.core.errors import ScenarioError
from populace.env.talk.conversation import NOBODY, Conversation

Protocol: TypeAlias = Callable[[Conversation, Stream], Sequence[int]]


def round_robin(talk: Conversation, draw: Stream) -> list[int]:
    """One after another, in the order of the members (which is drawn), again and again; two members alternate."""
    order = talk.members
    at = order.index(talk.held) + 1 if talk.held != NOBODY else 0
    turn = [*order[at:], *order[:at]]
    return next(([one] for one in turn if one in talk.present), [])


def all_at_once(talk: Conversation, draw: Stream) -> list[int]:
    """Everybody at the same time, unheard by the others until all have spoken."""
    return list(talk.present)


def manager_chooses(talk: Conversation, draw: Stream) -> list[int]:
    """The manager speaks and names who is `next`; then the manager again.

    Where it names nobody who is there, or has left, it is one of those who have spoken least, by lot.
    """
    if talk.manager in talk.present and talk.held != talk.manager:
        return [talk.manager]
    others = [one for one in talk.present if one != talk.manager]
    if talk.named in others:
        return [talk.named]
    if not others:
        return []
    fewest = min(talk.turns_of(one) for one in others)
    return [draw.choice([one for one in others if talk.turns_of(one) == fewest])]


def raise_hand(talk: Conversation, draw: Stream) -> list[int]:
    """One of those who raised a hand in the turn before, by lot; at first the first member. No hand: silence."""
    if not talk.turn:
        return talk.present[:1]
    hands = [one for one in talk.present if one in talk.hands]
    return [draw.choice(hands)] if hands else []


PROTOCOLS: Final[Mapping[str, Protocol]] = {
    "alternate": round_robin,
    "round_robin": round_robin,
    "all": all_at_once,
    "manager": manager_chooses,
    "raise_hand": raise_hand,
}


@dataclass(frozen=True)
class Phase:
    """A stretch of a conversation under one protocol, of at most so many turns (None: to the conversation's end)."""

    protocol: str | Protocol
    turns: int | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not callable(self.protocol) and self.protocol not in PROTOCOLS:
            raise ScenarioError(
                f"Phase({self.protocol!r}): a protocol is one of {', '.join(PROTOCOLS)}, or a function "
                "(conversation, draw) -> ids of the next speakers"
            )
        if self.turns is not None and self.turns < 1:
            raise ScenarioError(f"Phase(turns={self.turns}): a phase has at least one turn")

    def speakers(self, talk: Conversation, draw: Stream) -> list[int]:
        """Who speaks next; raises ScenarioError where a protocol gives somebody who isn't there."""
        function = PROTOCOLS[self.protocol] if isinstance(self.protocol, str) else self.protocol
        found = [int(one) for one in function(talk, draw)]
        if any(one not in talk.present for one in found) or len(set(found)) < len(found):
            raise ScenarioError(
                f"protocol {getattr(function, '__name__', function)!r} gives {found}: next speakers are different "
                f"members who are present, of {talk.present}"
            )
        return found


def give_floor(talk: Conversation, phases: Sequence[Phase], draw: Stream) -> None:
    """Say who speaks next; past the last phase, or where nobody speaks in it, the conversation is over."""
    while talk.phase < len(phases):
        phase = phases[talk.phase]
        if phase.turns is None or talk.phase_turn < phase.turns:
            talk.speakers = phase.speakers(talk, draw)
            if talk.speakers:
                talk.held = talk.speakers[-1]
                return
        talk.phase += 1
        talk.phase_turn = 0
        talk.hands = []
    talk.speakers = []
    last = phases[-1]
    talk.over = "silence" if last.turns is None else "done"
