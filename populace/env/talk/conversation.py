"""One conversation: members, floor, lines, notes, ends. Pure; the same for rounds within a tick and a turn a tick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

NOBODY: Final = -1

Agreement: TypeAlias = Literal["all", "one", "none"]

KEYS: Final = frozenset({"say", "to", "note", "raise_hand", "next", "agree", "leave"})


class Line(msgspec.Struct, array_like=True):
    """What was said in a turn: `to` are the addressees of a private one, empty where all members hear it.

    `heard` are those who were there to hear it, the speaker left out: who had left before did not.
    """

    turn: int
    speaker: int
    text: str
    to: list[int] = []
    heard: list[int] = []


class Conversation(msgspec.Struct):
    """A conversation as it stands.

    `members` are in an order that was drawn; `present` are those who have not left, `speakers` who has the floor, and
    `held` had it last. `spoke` are the speakers so far, one for each line; `hands` who raised a hand in the last turn;
    `named` whom the manager named; `agreed` who agrees. `notes` are each member's own, in the members' order. `over` is
    '' or the reason why it ended: agreement, cap, left, deadline, silence (nobody wanted the floor) or done (its phases
    are through).
    """

    number: int
    tick: int
    members: list[int]
    topic: str = ""
    manager: int = NOBODY
    present: list[int] = []
    speakers: list[int] = []
    turn: int = 0
    phase: int = 0
    phase_turn: int = 0
    missed: int = 0
    held: int = NOBODY
    spoke: list[int] = []
    lines: list[Line] = []
    notes: list[list[str]] = []
    hands: list[int] = []
    named: int = NOBODY
    agreed: list[int] = []
    first_to_agree: int = NOBODY
    over: str = ""

    def turns_of(self, member: int) -> int:
        """How many lines a member has said."""
        return self.spoke.count(member)

    def visible(self, member: int) -> list[Line]:
        """The lines that a member hears or has said."""
        return [one for one in self.lines if member == one.speaker or member in one.heard]


class Terms(msgspec.Struct, frozen=True):
    """What holds for conversations: at most `cap` turns; `agreement` of all present, of one, or none ends them."""

    cap: int
    agreement: Agreement
    text_chars: int
    memory: int
    notes: int


def opened(number: int, tick: int, members: list[int], topic: str, manager: int = NOBODY) -> Conversation:
    """A conversation that begins; nobody has the floor yet."""
    return Conversation(number, tick, members, topic, manager, present=list(members), notes=[[] for _ in members])


def as_said(given: Any) -> dict[str, Any]:
    """A contribution as a dictionary: a text is what is said, None is nothing."""
    if given is None:
        return {}
    return {"say": given} if isinstance(given, str) else given


def unfit(talk: Conversation, terms: Terms, member: int, given: Any) -> str:
    """Why a contribution cannot be taken; '' where it can."""
    said = as_said(given)
    if not isinstance(said, Mapping) or not said.keys() <= KEYS:
        return "bad_arguments"
    flags = [said.get(name, False) for name in ("raise_hand", "agree", "leave")]
    texts = [said[name] for name in ("say", "note") if said.get(name) is not None]
    if not all(type(one) is bool for one in flags) or not all(type(one) is str for one in texts):
        return "bad_arguments"
    if said.get("next") is not None and type(said["next"]) is not int:
        return "bad_arguments"
    if any(not one.strip() for one in texts):
        return "empty_text"
    if any(len(one) > terms.text_chars for one in texts):
        return "long_text"
    if said.get("say") is not None and member not in talk.speakers:
        return "not_your_turn"
    to = said.get("to")
    if to is not None:
        if not isinstance(to, list | tuple) or not to or said.get("say") is None:
            return "bad_arguments"
        if any(type(one) is not int or one not in talk.members or one == member for one in to):
            return "unknown_addressee"
    return ""


def leave(talk: Conversation, member: int) -> None:
    """A member is gone; with fewer than two the conversation is over."""
    if member in talk.present:
        talk.present.remove(member)
        talk.speakers = [one for one in talk.speakers if one != member]
        talk.agreed = [one for one in talk.agreed if one != member]
        if len(talk.present) < 2 and not talk.over:
            talk.over, talk.speakers = "left", []


def take(talk: Conversation, terms: Terms, said: Mapping[int, Any], waits: bool = False) -> list[Line]:
    """Take what members contributed to a turn, all of it fit; gives the lines said.

    `give_floor` then says who is next, if it isn't over. Where it `waits` for a speaker, the turn goes on.
    """
    if not talk.missed:
        talk.hands, talk.named = [], NOBODY
    gone, lines = [], []
    for at, member in enumerate(talk.members):
        one = as_said(said.get(member))
        if one.get("say") is not None and member in talk.speakers:
            to = sorted(set(one.get("to") or ()))
            heard = [other for other in talk.present if other != member and (not to or other in to)]
            lines.append(Line(talk.turn, member, one["say"], to, heard))
            talk.spoke.append(member)
        if one.get("note") is not None:
            talk.notes[at] = [*talk.notes[at], one["note"]][-terms.notes :] if terms.notes else []
        if one.get("raise_hand") and member not in talk.hands:
            talk.hands.append(member)
        if member == talk.manager and one.get("next") is not None:
            talk.named = one["next"]
        if "agree" in one:
            talk.agreed = [other for other in talk.agreed if other != member]
            if one["agree"]:
                talk.agreed.append(member)
                talk.first_to_agree = member if talk.first_to_agree == NOBODY else talk.first_to_agree
        if one.get("leave"):
            gone.append(member)
    talk.lines = [*talk.lines, *lines][-terms.memory :]
    talk.missed += 1
    if not waits:
        talk.turn += 1
        talk.phase_turn += 1
        talk.missed = 0
    wanted = {"all": len(talk.present), "one": 1, "none": len(talk.members) + 1}[terms.agreement]
    if len(talk.agreed) >= max(1, wanted):
        talk.over, talk.speakers = "agreement", []
    for member in gone:
        leave(talk, member)
    if not talk.over and talk.turn >= terms.cap:
        talk.over, talk.speakers = "cap", []
    return lines


def shown(talk: Conversation, member: int) -> dict[str, Any]:
    """What a member sees of it."""
    return {
        "conversation": talk.number,
        "members": list(talk.members),
        "present": list(talk.present),
        "topic": talk.topic,
        "manager": talk.manager,
        "phase": talk.phase,
        "turn": talk.turn,
        "floor": member in talk.speakers,
        "speakers": list(talk.speakers),
        "lines": [{"speaker": one.speaker, "text": one.text, "to": list(one.to)} for one in talk.visible(member)],
        "notes": list(talk.notes[talk.members.index(member)]),
        "over": talk.over,
    }


NO_TALK: Final[Mapping[str, Any]] = {
    "conversation": NOBODY, "members": [], "present": [], "topic": "", "manager": NOBODY, "phase": 0, "turn": 0,
    "floor": False, "speakers": [], "lines": [], "notes": [], "over": "",
}  # fmt: skip
"""What an agent sees who is in no conversation."""
