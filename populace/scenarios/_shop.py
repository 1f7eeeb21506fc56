"""A shop's desk as data and a few functions: customers and their orders."""

from __future__ import annotations

from typing import Any, Literal

from populace.core.draws import Stream
from populace.env import Domain, PolicyRule, Refusal

NAME = "shop"
FIND, READ, ID = "find_customer", "get_order", "order"
SIZES = ("S", "M", "L", "XL")
REASONS = ("no longer needed", "ordered by mistake")


def find_customer(db: Any, *, email: str) -> dict[str, Any]:
    """A customer's row and the ids of the orders."""
    return {**db.row("customers", email), "orders": [one["order"] for one in db.find("orders", email=email)]}


def get_order(db: Any, *, order: str) -> dict[str, Any]:
    """An order's row."""
    return dict(db.row("orders", order))


def _with_status(db: Any, order: str, status: str) -> dict[str, Any]:
    row: dict[str, Any] = db.row("orders", order)
    if row["status"] != status:
        raise Refusal(f"not_{status}")
    return row


def cancel_order(db: Any, *, order: str, reason: Literal["no longer needed", "ordered by mistake"]) -> None:
    """Cancel an order that is pending."""
    _with_status(db, order, "pending")
    db.put("orders", order, status="cancelled", note=reason)


def change_size(db: Any, *, order: str, size: Literal["S", "M", "L", "XL"]) -> None:
    """Change the size of what is ordered, while the order is pending."""
    _with_status(db, order, "pending")
    db.put("orders", order, size=size)


def change_address(db: Any, *, order: str, address: str) -> None:
    """Change where a pending order goes."""
    _with_status(db, order, "pending")
    db.put("orders", order, address=address)


def return_order(db: Any, *, order: str, refund_to: str) -> None:
    """Take back an order that was delivered, and refund it."""
    _with_status(db, order, "delivered")
    db.put("orders", order, status="returned", note=refund_to)


CHANGES = ("cancel_order", "change_size", "change_address", "return_order")
POLICY = [
    PolicyRule(
        name="not_identified", text="Find the customer before you change anything.", tools=CHANGES,
        kept=lambda call: FIND in call.history,
    ),
    PolicyRule(
        name="not_read", text="Look at an order before you change it.", tools=CHANGES,
        kept=lambda call: READ in call.history,
    ),
    PolicyRule(
        name="other_refund", text="Refund to the way the order was paid, and to nothing else.", tools=("return_order",),
        kept=lambda call: call.args["refund_to"] == call.before.row("orders", call.args["order"])["paid_by"],
    ),
]  # fmt: skip


def domain(draw: Stream, customers: int = 6, orders: int = 8) -> Domain:
    """So many customers, and so many orders of each, half of them delivered."""
    emails = [f"customer{at}@mail.example" for at in range(customers)]
    total = customers * orders
    tables = {
        "customers": {"email": emails, "name": [f"Customer {at}" for at in range(customers)]},
        "orders": {
            "order": [f"W{100 + at}" for at in range(total)],
            "email": [emails[at // orders] for at in range(total)],
            "status": ["pending" if at % 2 else "delivered" for at in range(total)],
            "size": [draw.choice(SIZES) for _ in range(total)],
            "address": [f"{1 + draw.integer(90)} Mill Lane" for _ in range(total)],
            "paid_by": [draw.choice(["card", "voucher", "invoice"]) for _ in range(total)],
            "note": [""] * total,
        },
    }
    return Domain(
        NAME, tables, [find_customer, get_order, cancel_order, change_size, change_address, return_order], POLICY
    )


def requests(shop: Domain, draw: Stream, n: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Who a customer is, {'email'}, and `n` things it wants, {'tool', 'args'}; some against the policy."""
    email = draw.choice(shop.base.columns["customers"]["email"])
    own = [row for row in map(dict, _rows(shop)) if row["email"] == email]
    wanted = []
    for row in draw.sample(own, n):
        args: dict[str, Any] = {"order": row["order"]}
        if row["status"] == "delivered":
            tool, args["refund_to"] = "return_order", draw.choice(["card", "voucher", row["paid_by"], row["paid_by"]])
        else:
            tool = draw.choice(["cancel_order", "change_size", "change_address"])
            key, values = {
                "cancel_order": ("reason", REASONS),
                "change_size": ("size", [size for size in SIZES if size != row["size"]]),
                "change_address": ("address", ["5 New Street", "9 Old Road"]),
            }[tool]
            args[key] = draw.choice(values)
        wanted.append({"tool": tool, "args": args})
    return {"email": email}, wanted


def _rows(shop: Domain) -> list[dict[str, Any]]:
    columns = shop.base.columns["orders"]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def within_policy(tool: str, args: dict[str, Any], row: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """What the policy has a clerk do where a customer wants this of an order; None for nothing."""
    return tool, {**args, "refund_to": row["paid_by"]} if tool == "return_order" else args
