"""An airline's desk as data and a few functions: passengers, bookings and flights."""

from __future__ import annotations

from typing import Any

from populace.core.draws import Stream
from populace.env import Domain, PolicyRule, Refusal

NAME = "airline"
FIND, READ, ID = "find_passenger", "get_booking", "booking"
ROUTES = ("OSL-RIX", "RIX-BER", "BER-LIS")


def find_passenger(db: Any, *, passenger: str) -> dict[str, Any]:
    """A passenger's row and the ids of the bookings."""
    mine = [one["booking"] for one in db.find("bookings", passenger=passenger)]
    return {**db.row("passengers", passenger), "bookings": mine}


def get_booking(db: Any, *, booking: str) -> dict[str, Any]:
    """A booking's row."""
    return dict(db.row("bookings", booking))


def _booked(db: Any, booking: str) -> dict[str, Any]:
    row: dict[str, Any] = db.row("bookings", booking)
    if row["status"] != "booked":
        raise Refusal("not_booked")
    return row


def cancel_booking(db: Any, *, booking: str) -> None:
    """Cancel a booking and refund it; its seat is free again."""
    row = _booked(db, booking)
    db.put("bookings", booking, status="cancelled")
    db.put("flights", row["flight"], seats=db.row("flights", row["flight"])["seats"] + 1)


def change_flight(db: Any, *, booking: str, flight: str) -> None:
    """Move a booking to another flight on the same route that has a seat left."""
    row, new = _booked(db, booking), db.row("flights", flight)
    if new["route"] != db.row("flights", row["flight"])["route"] or flight == row["flight"]:
        raise Refusal("other_route")
    if new["seats"] <= 0:
        raise Refusal("full")
    db.put("flights", row["flight"], seats=db.row("flights", row["flight"])["seats"] + 1)
    db.put("flights", flight, seats=new["seats"] - 1)
    db.put("bookings", booking, flight=flight)


def set_bags(db: Any, *, booking: str, bags: int) -> None:
    """Set how many bags a booking has, from 0 to 4."""
    _booked(db, booking)
    if not 0 <= bags <= 4:
        raise Refusal("too_many_bags")
    db.put("bookings", booking, bags=bags)


CHANGES = ("cancel_booking", "change_flight", "set_bags")


def _row(call: Any) -> dict[str, Any]:
    row: dict[str, Any] = call.before.row("bookings", call.args["booking"])
    return row


POLICY = [
    PolicyRule(
        name="not_identified", text="Find the passenger before you change anything.", tools=CHANGES,
        kept=lambda call: FIND in call.history,
    ),
    PolicyRule(
        name="not_read", text="Look at a booking before you change it.", tools=CHANGES,
        kept=lambda call: READ in call.history,
    ),
    PolicyRule(
        name="no_refund", text="Cancel a booking only where it is insured.", tools=("cancel_booking",),
        kept=lambda call: _row(call)["insured"],
    ),
    PolicyRule(
        name="basic_fare", text="The flight of a basic fare is not changed.", tools=("change_flight",),
        kept=lambda call: _row(call)["fare"] != "basic",
    ),
]  # fmt: skip


def domain(draw: Stream, passengers: int = 6, bookings: int = 8) -> Domain:
    """So many passengers, and so many bookings of each; four flights a route."""
    ids = [f"P{at}" for at in range(passengers)]
    flights = [f"{route}-{at}" for route in ROUTES for at in range(4)]
    total = passengers * bookings
    tables: dict[str, dict[str, list[Any]]] = {
        "passengers": {"passenger": ids, "name": [f"Passenger {at}" for at in range(passengers)]},
        "flights": {
            "flight": flights,
            "route": [flight[:7] for flight in flights],
            "seats": [20 + draw.integer(20) for _ in flights],
        },
        "bookings": {
            "booking": [f"B{100 + at}" for at in range(total)],
            "passenger": [ids[at // bookings] for at in range(total)],
            "flight": [draw.choice(flights) for _ in range(total)],
            "fare": [draw.choice(["basic", "flex", "flex", "business"]) for _ in range(total)],
            "insured": [draw.bernoulli(0.5) for _ in range(total)],
            "bags": [draw.integer(3) for _ in range(total)],
            "status": ["booked"] * total,
        },
    }
    return Domain(NAME, tables, [find_passenger, get_booking, cancel_booking, change_flight, set_bags], POLICY)


def requests(airline: Domain, draw: Stream, n: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Who a passenger is, {'passenger'}, and `n` things it wants, {'tool', 'args'}; some against the policy."""
    columns = airline.base.columns["bookings"]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    passenger = draw.choice(airline.base.columns["passengers"]["passenger"])
    wanted = []
    for row in draw.sample([one for one in rows if one["passenger"] == passenger], n):
        tool, args = draw.choice(CHANGES), {"booking": row["booking"]}
        if tool == "change_flight":
            route = [one for one in airline.base.columns["flights"]["flight"] if one[:7] == row["flight"][:7]]
            args["flight"] = draw.choice([one for one in route if one != row["flight"]])
        elif tool == "set_bags":
            args["bags"] = row["bags"] + 1
        wanted.append({"tool": tool, "args": args})
    return {"passenger": passenger}, wanted


def within_policy(tool: str, args: dict[str, Any], row: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """What the policy has a clerk do where a passenger wants this of a booking; None for nothing."""
    forbidden = (tool == "cancel_booking" and not row["insured"]) or (
        tool == "change_flight" and row["fare"] == "basic"
    )
    return None if forbidden else (tool, args)
