"""What one account's limits are to each of the runs that share it: rates, held for a while. Pure.

Runs that share an account read and write one small text somewhere that all of them reach (a `Register`): who is at
work, and what part of the rates each holds. It changes by compare-and-swap, so all see one order of changes. A run
holds its part until a time of its own clock, and renews it before. So that at every moment

    the rates by which all runs lease add up to the account's limit at most

whatever the clocks of machines say, and whenever runs come, go, stop for a while or are killed:

- *lower before, raise after*: a run keeps to a smaller part before it writes so, and to a larger one once that is
  written. A write whose fate is unknown may have been done or not: it has kept to the smaller of both.
- *no clock is compared with another*: a run counts the end of its part from before it wrote. Another takes it for gone
  once it has itself seen the same entry, unchanged, for longer than that (so it reads no time from the text at all).
- *what is held is not taken*: who comes gets what is free. The others give way when they renew, and then it has more.

Parts are max-min fair by what runs ask for (Bertsekas and Gallager, "Data Networks", 1992, section 6.5.2), and what
nobody asks for is shared equally, so a run that is alone has all. Who asks for nothing keeps a little, to begin with.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple, Protocol

import msgspec

from populace.budget.quota import fair_part

VERSION: Final = 1
GUARD_S: Final = 1.0
"""How much earlier a run lets go of its part than others may take it: what shards were leased of it ends meanwhile."""
_DRIFT: Final = 1.02
"""How much faster another machine's clock may run."""
_IDLE_PART: Final = 0.05
"""The part of an equal share that a run keeps which asks for nothing."""
_MORE: Final = 1.25
"""How much more than it used a run asks for, so that it can grow."""
_MOST_MEMBERS: Final = 10_000
_LONGEST_S: Final = 86_400.0
"""Longer than any run holds a part, however many there are: who waited for more would wait for ever."""

Rates = tuple[float, float]
"""Requests and tokens a second; 0.0 where they are not limited."""


class Terms(msgspec.Struct, frozen=True):
    """How often a run renews its part: every `again_s`, or every `each_s` for each run there is, if that is longer.

    A part lasts as long as four renewals, and `GUARD_S`, so a write or two may fail.
    """

    again_s: float
    each_s: float

    def every_s(self, members: int) -> float:
        """The seconds between two renewals where there are so many runs."""
        return max(self.again_s, self.each_s * members)

    def lasts_s(self, members: int) -> float:
        """For how long what is written now is held."""
        return 4.0 * self.every_s(members) + GUARD_S


class Member(msgspec.Struct, frozen=True):
    """A run at work, in the text. Its `name` is drawn anew in each process; `nth` rises with all that it writes.

    `limits` are the account's as its settings say, a second; runs with other limits are counted apart. `wants` is what
    it asks for, `holds` what it has, for `lasts_s`.
    """

    name: str
    nth: int
    limits: Rates
    wants: Rates
    holds: Rates
    lasts_s: float


class Shared(msgspec.Struct, frozen=True):
    """The text: who is at work."""

    version: int
    members: list[Member]


class Register(Protocol):
    """One small text that many processes read and write. Both raise StorageError where that can't be done now."""

    place: str
    """Where it is, for errors."""

    def read(self) -> tuple[bytes | None, object]:
        """The text (None: there is none yet), and a mark of this version of it."""

    def write(self, text: bytes, mark: object) -> bool:
        """Put this text in the place of that version, in one step; False where it is not the newest any more."""


class Plan(NamedTuple):
    """What a run is about to write, the rates that it keeps to until that is done, and those it has then."""

    text: bytes
    meanwhile: Rates
    then: Rates
    lasts_s: float


class Share:
    """One run's side of a shared account. Time is an argument, in monotonic seconds of this process's own clock."""

    __slots__ = (
        "_members",
        "_nth",
        "_seen",
        "_until_s",
        "_waits",
        "asks_all",
        "holds",
        "limits",
        "most",
        "name",
        "others",
        "terms",
    )

    def __init__(self, name: str, limits: Rates, terms: Terms) -> None:
        self.name = name
        self.limits = limits
        self.terms = terms
        self.holds: Rates = (0.0, 0.0)
        self.most = 1
        """The most runs that were at work at once, this one among them."""
        self.others = 0
        """How many runs name other limits for this account now."""
        self.asks_all = False
        """Whether it asked for all of the limits when it last wrote."""
        self._members = 1
        self._waits = True
        self._nth = 0
        self._until_s = -math.inf
        self._seen: dict[str, tuple[int, float]] = {}

    def plan(self, text: bytes | None, wants: Rates, now_s: float) -> Plan:
        """What to write, having read this text; `now_s` is a time after that. Raises ValueError for no such text."""
        members = self._at_work(text, now_s)
        others = [one for one in members if one.name != self.name]
        alike = [one for one in others if one.limits == self.limits]
        self._members = 1 + len(alike)
        self.most, self.others = max(self.most, self._members), len(others) - len(alike)
        own = self.holds if now_s < self._until_s else (0.0, 0.0)
        lost = any(own) and len(others) == len(members)
        holds, fair, asks = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]
        for kind, limit in enumerate(self.limits):
            if limit == 0.0:
                continue
            least = _IDLE_PART * limit / self._members
            asks[kind] = min(limit, max(_MORE * wants[kind], least))
            fair[kind] = fair_part(limit, asks[kind], [asks[kind], *(one.wants[kind] for one in alike)])
            free = limit - math.fsum(one.holds[kind] for one in alike)
            holds[kind] = max(0.0, min(free, fair[kind]))
            if lost:  # somebody removed this run's entry, and maybe others': they come back before anybody takes more
                holds[kind] = min(holds[kind], own[kind])
        self._waits = any(held < 0.5 * part for held, part in zip(holds, fair, strict=True))
        self.asks_all = all(asked >= limit for asked, limit in zip(asks, self.limits, strict=True))
        self._nth += 1
        lasts_s = self.terms.lasts_s(self._members)
        then = (holds[0], holds[1])
        me = Member(self.name, self._nth, self.limits, (asks[0], asks[1]), then, lasts_s)
        self.holds = (min(own[0], then[0]), min(own[1], then[1]))
        return Plan(_pack([*others, me]), self.holds, then, lasts_s)

    def wrote(self, plan: Plan, sent_s: float) -> float:
        """The plan's text was written; it was sent at `sent_s`. Until when this run may keep to `plan.then`."""
        self.holds = plan.then
        self._until_s = sent_s + plan.lasts_s - GUARD_S
        return self._until_s

    @property
    def until_s(self) -> float:
        """Until when the run may keep to what it holds."""
        return self._until_s

    @property
    def again_s(self) -> float:
        """In how many seconds to renew: sooner for a run that waits for others to give way."""
        return self.terms.every_s(self._members) * (0.5 if self._waits else 1.0)

    def left(self, text: bytes | None, now_s: float) -> bytes:
        """What to write as the run ends: all but itself. Raises ValueError for no such text."""
        self.holds, self._until_s = (0.0, 0.0), -math.inf
        return _pack([one for one in self._at_work(text, now_s) if one.name != self.name])

    def _at_work(self, text: bytes | None, now_s: float) -> list[Member]:
        """Who stands in the text, but for those whose parts are over."""
        members = read_members(text)
        seen = {one.name: self._seen.get(one.name, (-1, now_s)) for one in members}
        self._seen = {one.name: seen[one.name] if seen[one.name][0] == one.nth else (one.nth, now_s) for one in members}
        return [one for one in members if now_s - self._seen[one.name][1] < one.lasts_s * _DRIFT]


def read_members(text: bytes | None) -> list[Member]:
    """Who stands in a text. Raises ValueError for another text, as another version of populace may write."""
    if text is None:
        return []
    try:
        shared = msgspec.json.decode(text, type=Shared)
        _check(shared)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ValueError(f"holds something else than the runs that share a limit ({error})") from None
    return shared.members


def _check(shared: Shared) -> None:
    if shared.version != VERSION:
        raise ValueError(f"version {shared.version}, where this populace reads {VERSION}")
    if len(shared.members) > _MOST_MEMBERS:
        raise ValueError(f"{len(shared.members)} runs")
    for one in shared.members:
        numbers = (*one.limits, *one.wants, *one.holds, one.lasts_s)
        if not all(0.0 <= number < math.inf for number in numbers):
            raise ValueError("a negative rate")
        if one.lasts_s > _LONGEST_S:
            raise ValueError(f"a part that is held for {one.lasts_s:.3g} s")


def _pack(members: list[Member]) -> bytes:
    return msgspec.json.encode(Shared(VERSION, members))
