"""Negotiated exchange between two sides: issues, private points, offers, acceptance, walking away, a deadline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.digest import RowDigests, join_digests
from populace.env.market.agreements import Issues, pareto_distance
from populace.env.market.ring import Ring
from populace.env.part import Batch, Opening, Part, action, query
from populace.env.wholes import check_whole

OPEN: Final = 0
AGREED: Final = 1
WALKED: Final = 2
EXPIRED: Final = 3
_ENDINGS: Final = {AGREED: "agreed", WALKED: "walked", EXPIRED: "deadline"}
_NONE: Final = -1
_FIRST_ROWS: Final = 64
_DEAL: Final = {
    "first": np.int32,
    "second": np.int32,
    "opened": np.int32,
    "ended": np.int32,
    "status": np.int8,
    "agreed": np.int64,
    "offers": np.int32,
    **{f"walk_away_{side}": np.float64 for side in (0, 1)},
    **{f"offer_{side}": np.int64 for side in (0, 1)},
}
_OFFER: Final = {"tick": np.int32, "deal": np.int64, "side": np.int8, "terms": np.int64, "text": str}


class Negotiation(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A deal that two agents may come to. `points` are each side's, by issue and option; nobody sees the other's.

    `walk_away` is what it is worth to each side not to agree.
    """

    sides: tuple[int, int]
    points: tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]
    walk_away: tuple[float, float] = (0.0, 0.0)


class Bargain(Part):
    """Pairs of agents negotiate over the same issues; each side's points are its own secret.

    Agents act with `offer(deal=, terms={issue: option}, text="")`, `accept(deal=, offer=)` and `walk(deal=)`. An offer
    stands until its side makes another; to accept names the number of the other's standing offer, so that nobody
    accepts what it has not seen. Both sides may offer at any time, also in one tick; who is first to accept or walk
    away in the fair order of a tick is, and what comes after is refused. Refusals are `bad_arguments`, `bad_terms`,
    `unknown_deal` (there is none, or it is kept no longer), `not_yours`, `closed`, `unknown_offer` and `superseded`.

    The other side is sent {'deal', 'offer': number, 'terms', 'text'}; both are sent {'deal', 'ended', 'terms',
    'worth'} at the end, with 'agreed', 'walked' or 'deadline', and what it is worth to themselves. A deal that is open
    `deadline_ticks` ticks after it began ends without agreement (0: never). A side that agrees to nothing has its
    `walk_away`.

    Agents see `open`, in how many open deals they are, and ask for `deals_of()`, `worth(deal=, terms=)` and
    `history(deal=, n=10)`. Other parts begin deals with `begin`.

    Levers may set `deadline_ticks`.
    """

    name = "bargain"
    unsaved = ("_open",)
    settable: Mapping[str, Any] = {"deadline_ticks": int}

    def __init__(
        self,
        issues: Mapping[str, Sequence[str]],
        negotiations: Sequence[Mapping[str, Any]] = (),
        *,
        deadline_ticks: int = 0,
        keep: int = 100_000,
        name: str | None = None,
    ) -> None:
        """`negotiations` are there from the start: see `Negotiation`. `keep` deals, and as many offers, are kept.

        Raises ScenarioError for what is out of range.
        """
        super().__init__(name)
        check_whole(type(self).__name__, 1, keep=keep)
        if keep < len(negotiations):
            raise ScenarioError(f"Bargain(keep={keep}): {len(negotiations)} negotiations are there from the start")
        self.issues = Issues(issues)
        self.keep = keep
        self.deadline_ticks = 0
        self.set_parameter("deadline_ticks", deadline_ticks)
        self._start = list(negotiations)

    def set_parameter(self, name: str, value: Any) -> None:
        """Take a deadline. Raises ScenarioError for one below 0."""
        if type(value) is not int or value < 0:
            raise ScenarioError(f"part '{self.name}': {name} is 0 or more ticks, not {value!r}")
        setattr(self, name, value)

    def open(self, opening: Opening) -> None:
        """Begin the first negotiations. Raises ScenarioError, naming the one that is no good."""
        self.deals = Ring("deals", _DEAL, self.keep)
        self.offers = Ring("offers", _OFFER, self.keep)
        self.points = np.zeros((0, 2, self.issues.cells))
        """Each side's points in every kept deal, (rows, 2, cells): deal `number` stands at `number % keep`."""
        self._points_digest: RowDigests | None = None
        self._begun: list[int] = []
        self._open: dict[int, list[int]] = {}
        for at, one in enumerate(self._start):
            try:
                self.begin(0, msgspec.convert(dict(one), Negotiation), opening.agents)
            except (ValueError, msgspec.ValidationError) as error:
                raise ScenarioError(f"part '{self.name}', negotiation {at}: {error}") from None

    def begin(self, tick: int, one: Negotiation, agents: int | None = None) -> int:
        """Begin a negotiation; gives the deal's number. Raises ValueError for what is none."""
        agents = self.world.agents if agents is None else agents
        if one.sides[0] == one.sides[1] or not all(0 <= side < agents for side in one.sides):
            raise ValueError(f"sides are two different agents from 0 to {agents - 1}, not {one.sides}")
        rows = np.array([self._row(points) for points in one.points])
        if not np.isfinite(rows).all() or not np.isfinite(one.walk_away).all():
            raise ValueError("points and walk_away are finite numbers")
        oldest = self.deals.count - self.keep
        if oldest >= 0 and self.deals.get("status", oldest) == OPEN:
            self._close(oldest)
        number = self.deals.add(
            first=one.sides[0],
            second=one.sides[1],
            opened=tick,
            ended=_NONE,
            status=OPEN,
            agreed=_NONE,
            offers=0,
            walk_away_0=one.walk_away[0],
            walk_away_1=one.walk_away[1],
            offer_0=_NONE,
            offer_1=_NONE,
        )
        place = number % self.keep
        self._room(place + 1)
        self.points[place] = rows
        self._begun.append(number)
        for side in one.sides:
            self._open.setdefault(side, []).append(number)
        return number

    def _room(self, rows: int) -> None:
        size = len(self.points)
        while size < rows:
            size = min(self.keep, max(_FIRST_ROWS, 2 * size))
        self.points = np.concatenate((self.points, np.zeros((size - len(self.points), 2, self.issues.cells))))

    def _row(self, points: Mapping[str, Mapping[str, float]]) -> list[float]:
        options = self.issues.options
        if points.keys() != options.keys() or any(points[issue].keys() != {*options[issue]} for issue in options):
            raise ValueError(f"points are by issue and option: {dict(options)}")
        return [points[issue][label] for issue, labels in options.items() for label in labels]

    def _close(self, number: int) -> None:
        for name in ("first", "second"):
            agent = self.deals.get(name, number)
            self._open[agent].remove(number)
            if not self._open[agent]:
                del self._open[agent]

    def _party(self, deal: Any, agent: int) -> tuple[str, int]:
        """Why this agent can do nothing in a deal, or "" and which side it is."""
        if type(deal) is not int or not self.deals.kept(deal):
            return "unknown_deal", _NONE
        sides = self.deals.get("first", deal), self.deals.get("second", deal)
        if agent not in sides:
            return "not_yours", _NONE
        return "" if self.deals.get("status", deal) == OPEN else "closed", sides.index(agent)

    @action
    def offer(self, tick: int, batch: Batch) -> Iterable[tuple[int, Any]]:
        """`offer(deal=, terms={issue: option}, text="")`: offer terms, in place of one's last offer."""
        told: list[tuple[int, Any]] = []
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            deal: Any = args.get("deal")
            text = args.get("text", "")
            reason, side = self._party(deal, agent)
            if not {"deal", "terms"} <= args.keys() <= {"deal", "terms", "text"} or type(text) is not str:
                batch.refuse(i, "bad_arguments")
                continue
            if reason:
                batch.refuse(i, reason)
                continue
            try:
                code = self.issues.code(args["terms"])
            except (ValueError, TypeError):
                batch.refuse(i, "bad_terms")
                continue
            number = self.offers.add(tick=tick, deal=deal, side=side, terms=code, text=text)
            self.deals.put(f"offer_{side}", deal, number)
            self.deals.put("offers", deal, self.deals.get("offers", deal) + 1)
            other = self.deals.get("second" if side == 0 else "first", deal)
            told.append((other, {"deal": deal, "offer": number, "terms": self.issues.terms(code), "text": text}))
        return told

    @action
    def accept(self, tick: int, batch: Batch) -> Iterable[tuple[int, Any]]:
        """`accept(deal=, offer=)`: agree to the other side's standing offer."""
        told: list[tuple[int, Any]] = []
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            deal, offer = args.get("deal"), args.get("offer")
            reason, side = self._party(deal, agent)
            if args.keys() != {"deal", "offer"} or type(offer) is not int:
                batch.refuse(i, "bad_arguments")
            elif reason:
                batch.refuse(i, reason)
            elif not self.offers.kept(offer) or self.offers.get("deal", offer) != deal:
                batch.refuse(i, "unknown_offer")
            elif self.offers.get("side", offer) == side:
                batch.refuse(i, "not_yours")
            elif self.deals.get(f"offer_{1 - side}", args["deal"]) != offer:
                batch.refuse(i, "superseded")
            else:
                self.deals.put("agreed", args["deal"], self.offers.get("terms", offer))
                told += self._end(args["deal"], AGREED, tick)
        return told

    @action
    def walk(self, tick: int, batch: Batch) -> Iterable[tuple[int, Any]]:
        """`walk(deal=)`: leave without agreement."""
        told: list[tuple[int, Any]] = []
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            reason = "bad_arguments" if args.keys() != {"deal"} else self._party(args["deal"], agent)[0]
            if reason:
                batch.refuse(i, reason)
            else:
                told += self._end(args["deal"], WALKED, tick)
        return told

    def _end(self, deal: int, status: int, tick: int) -> list[tuple[int, Any]]:
        self.deals.put("status", deal, status)
        self.deals.put("ended", deal, tick)
        self._close(deal)
        code = self.deals.get("agreed", deal)
        terms = None if code == _NONE else self.issues.terms(code)
        worth = self.utilities(np.array([deal]))[0].tolist()
        body = {"deal": deal, "ended": _ENDINGS[status], "terms": terms}
        return [
            (self.deals.get(name, deal), {**body, "worth": worth[side]})
            for side, name in enumerate(("first", "second"))
        ]

    def advance(self, tick: int) -> Iterable[tuple[int, Any]]:
        """End what has come to its deadline."""
        told: list[tuple[int, Any]] = []
        if self.deadline_ticks:
            for deal in sorted({deal for deals in self._open.values() for deal in deals}):
                if tick + 1 - self.deals.get("opened", deal) >= self.deadline_ticks:
                    told += self._end(deal, EXPIRED, tick)
        return told

    def observe(self, tick: int, agents: NDArray[np.int32]) -> Mapping[str, NDArray[Any]]:
        """In how many open deals each is."""
        return {"open": np.array([len(self._open.get(agent, ())) for agent in agents.tolist()], np.int64)}

    @query
    def deals_of(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """`deals_of()`: the asking agent's open deals, oldest first.

        Each as {'deal', 'with', 'points' (one's own, by issue and option), 'walk_away', 'ticks_left' (None without a
        deadline), 'own_offer', 'offer' (the other's standing one: 'offer', 'terms', 'text', 'worth' to oneself)}; the
        last two are None where there is none.
        """
        if any(args):
            raise ValueError("write look('bargain.deals_of') without arguments: it gives one's own")
        return [[self._shown(deal, agent) for deal in sorted(self._open.get(agent, ()))] for agent in agents]

    def _shown(self, deal: int, agent: int) -> dict[str, Any]:
        row = self.deals.of(deal)
        side = 0 if row["first"] == agent else 1
        points = iter(self.points[deal % self.keep, side].tolist())
        left = row["opened"] + self.deadline_ticks - self.world.tick if self.deadline_ticks else None
        return {
            "deal": deal,
            "with": row["second" if side == 0 else "first"],
            "points": {
                issue: {label: next(points) for label in labels} for issue, labels in self.issues.options.items()
            },
            "walk_away": row[f"walk_away_{side}"],
            "ticks_left": left,
            "own_offer": self._offer(row[f"offer_{side}"], side),
            "offer": self._offer(row[f"offer_{1 - side}"], side),
        }

    def _offer(self, number: int, side: int) -> dict[str, Any] | None:
        if number == _NONE or not self.offers.kept(number):
            return None
        code, deal = self.offers.get("terms", number), self.offers.get("deal", number)
        worth = self.issues.worth(self.points[deal % self.keep, side][None], np.array([code]))
        text = self.offers.get("text", number)
        return {"offer": number, "terms": self.issues.terms(code), "text": text, "worth": float(worth[0])}

    @query
    def worth(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[float]:
        """`worth(deal=, terms={issue: option})`: what terms are worth to the asking agent, in its points."""
        return [self._worth(agent, **one) for agent, one in zip(agents, args, strict=True)]

    def _worth(self, agent: int, /, *, deal: Any = None, terms: Any = None, **rest: Any) -> float:
        reason, side = self._party(deal, agent)
        if rest or side == _NONE:
            raise ValueError(f"deal is one of the asking agent's, got {deal!r}: {reason} {rest or ''}")
        points = self.points[deal % self.keep, side][None]
        return float(self.issues.worth(points, np.array([self.issues.code(terms)]))[0])

    @query
    def history(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """`history(deal=, n=10)`: a deal's newest offers, oldest first: tick, offer, own, terms, text, worth."""
        return [self._history(agent, **one) for agent, one in zip(agents, args, strict=True)]

    def _history(self, agent: int, /, *, deal: Any = None, n: Any = 10, **rest: Any) -> list[dict[str, Any]]:
        reason, side = self._party(deal, agent)
        if rest or side == _NONE or type(n) is not int or n < 1:
            raise ValueError(f"deal is one of the asking agent's, n at least 1: {deal!r}, {n!r} {reason} {rest or ''}")
        numbers = self.offers.numbers()
        found = numbers[self.offers.column("deal", numbers) == deal][-n:].tolist()
        return [
            {
                "tick": self.offers.get("tick", one),
                "own": self.offers.get("side", one) == side,
                **(self._offer(one, side) or {}),
            }
            for one in found
        ]

    def utilities(self, deals: NDArray[np.int64]) -> NDArray[np.float64]:
        """What deals came to for each side, (n, 2): the agreement's worth, or the walk-away value."""
        codes = self.deals.column("agreed", deals)
        found = np.stack([self.deals.column(f"walk_away_{side}", deals) for side in (0, 1)], axis=1)
        done = codes >= 0
        for side in (0, 1):
            points = self.points[deals[done] % self.keep, side]
            found[done, side] = self.issues.worth(points, codes[done])
        return found

    def measures(self) -> dict[str, float]:
        """Of the kept deals that have ended: how many agreed, and how well.

        `agreement_rate`; `joint_utility`, the mean sum of both sides' utilities; `joint_share`, that sum as a share of
        the most that was possible; `pareto_distance`, the mean distance of agreements to the nearest efficient one, in
        points; `offers`, the mean number of offers made. NaN where there is nothing to measure.
        """
        numbers = self.deals.numbers()
        status = self.deals.column("status", numbers)
        ended, agreed = numbers[status != OPEN], numbers[status == AGREED]
        utilities, nothing = self.utilities(ended), float("nan")
        best, distances = [], []
        for number in ended.tolist():
            every = self.issues.every(self.points[number % self.keep])
            best.append(float(every.sum(axis=1).max()))
            if number in agreed:
                distances.append(pareto_distance(self.utilities(np.array([number]))[0], every))
        most = float(np.sum(best))
        return {
            "agreement_rate": len(agreed) / len(ended) if len(ended) else nothing,
            "joint_utility": float(utilities.sum(axis=1).mean()) if len(ended) else nothing,
            "joint_share": float(utilities.sum() / most) if most > 0 else nothing,
            "pareto_distance": float(np.mean(distances)) if distances else nothing,
            "offers": float(self.deals.column("offers", ended).mean()) if len(ended) else nothing,
        }

    def shrink(self, ids: NDArray[np.int32]) -> None:
        """Those who leave walk away."""
        for agent in ids.tolist():
            for deal in list(self._open.get(agent, ())):
                self._end(deal, WALKED, self.world.tick)

    def digest(self) -> bytes:
        """The digests of deals, offers and points, kept as they change."""
        if self._points_digest is None:
            self._points_digest, self._begun = RowDigests("points", "points"), self.deals.numbers().tolist()
        begun = np.unique(np.array([one for one in self._begun if self.deals.kept(one)], np.int64))
        width = 2 * self.issues.cells
        places = begun % self.keep
        cells, numbers = ((of[:, None] * width + np.arange(width)).ravel() for of in (places, begun))
        self._points_digest.put(cells, numbers, self.points[places].ravel())
        self._begun.clear()
        return join_digests(self.deals.digest(), self.offers.digest(), self._points_digest.digest())

    def state(self) -> dict[str, Any]:
        """Deals, offers, and the points of the kept deals."""
        points = self.points[self.deals.numbers() % self.keep]
        return {"deals": self.deals.state(), "offers": self.offers.state(), "points": points}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of a part with the same issues. Raises ScenarioError for another."""
        if state["points"].shape[1:] != (2, self.issues.cells):
            raise ScenarioError(f"the checkpoint's deals have other issues than {self.issues.options}")
        self.deals.restore(state["deals"])
        self.offers.restore(state["offers"])
        numbers = self.deals.numbers()
        at = numbers % self.keep
        self.points = np.zeros((0, 2, self.issues.cells))
        self._room(len(numbers))
        self.points[at] = state["points"]
        self._points_digest, self._begun, self._open = None, [], {}
        for deal in numbers[self.deals.column("status", numbers) == OPEN].tolist():
            for name in ("first", "second"):
                self._open.setdefault(self.deals.get(name, deal), []).append(deal)
