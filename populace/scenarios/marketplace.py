"""Customers look for restaurants: do they find the best offer, or the first one? After Magentic Marketplace.

A customer searches the directory, asks some of the results for a proposal, and takes one of those that come, or none.
A business proposes a price; its proposal takes as long as the business is slow.
"""

from typing import Any, Literal

import msgspec

from populace import Abstained, Agent, Context, OnMail, Parameters, Population, Public, Setup, Society, World
from populace.env import Directory
from populace.scenarios import _marketplace_rules as rules
from populace.scenarios._data import prompts

TEXTS = prompts("marketplace")
ITEMS = ("tacos", "soup", "salad", "noodles", "curry", "pizza", "cake", "coffee")
AMENITIES = ("patio", "wifi", "parking", "live music", "delivery")


class Dials(Parameters, frozen=True):
    """`search` and `results` are what a search gives; `attention` is how many results a customer reads.

    A proposal takes a delay that is drawn for each business, exponential with a mean of `delay_ticks`. A customer takes
    the first proposal that leaves it `aspiration` of what a perfect place is worth to it (above 1: it compares all),
    and after `patience` ticks the best one that leaves it anything. Of the businesses a share of `manipulators` cheats,
    by `manipulation`; a customer falls for it as its `credulity` (0 to 1) says. `value_cents` is what an
    item from a perfect place is worth, and `price_share` what share of it items cost on average; `stock` is how many
    units of an item a business has (0: enough for all).
    """

    search: Literal["perfect", "lexical", "random"] = "perfect"
    results: int = 10
    attention: int = 100
    contact_cents: int = 5
    delay_ticks: float = 1.0
    aspiration: float = 0.3
    patience: int = 6
    manipulation: Literal["none", "claims", "badges", "social_proof", "injection"] = "none"
    manipulators: float = 0.2
    credulity: float = 0.5
    value_cents: int = 1_200
    price_share: float = 0.1
    menu: int = 6
    stock: int = 0


class Contacts(msgspec.Struct):
    """Whom a customer asks: numbers of listings."""

    listings: list[int]


class Decision(msgspec.Struct):
    """Which proposal a customer takes: its number, or -1."""

    proposal: int


class Offer(msgspec.Struct):
    """What a business proposes."""

    price_cents: int
    text: str


class Customer(Agent):
    """Wants some items from a place with some amenities; `value_cents` is what a perfect place would be worth."""

    items: Public[str]
    amenities: Public[str]
    value_cents: Public[int]
    asked: Public[int] = 0
    asked_at: int = -1
    done: Public[bool] = False

    async def turn(self, ctx: Context) -> None:
        """Search and ask; then take a proposal, wait, or give up."""
        self.done = self.done or any("bought" in message.body for message in ctx.inbox)
        if self.done:
            return
        wants = {"items": self.items, "amenities": self.amenities, "value_cents": self.value_cents}
        await (self.ask_around(ctx, wants) if self.asked_at < 0 else self.choose(ctx, wants))

    async def ask_around(self, ctx: Context, wants: dict[str, Any]) -> None:
        """Search, and ask some of the results for a proposal."""
        dials = ctx.parameters
        items, amenities = self.items.split(", "), self.amenities.split(", ")
        query = {"items": items, "attributes": amenities, "value_cents": self.value_cents, "n": dials.results}
        found = await ctx.look("directory.search", **query)
        seen = ("listing", "name", "text", "attributes")
        results = [{**{name: one[name] for name in seen}, "menu": [*one["prices"]]} for one in found]
        facts = {**wants, "results": results, "attention": dials.attention, "contact_cents": dials.contact_cents}
        answer = await ctx.ask(TEXTS["contact"], Contacts, facts=facts, system=TEXTS["system"], purpose="contact")
        self.asked_at = ctx.tick
        sellers = {one["listing"]: one["seller"] for one in found[: dials.attention]}
        for listing in () if isinstance(answer, Abstained) else dict.fromkeys(answer.listings):
            if listing in sellers:
                ctx.send(sellers[listing], {"listing": listing, "items": items})
                self.asked += 1
        self.done = self.asked == 0

    async def choose(self, ctx: Context, wants: dict[str, Any]) -> None:
        """Take one of the proposals that have come, or wait while there is patience."""
        dials, proposals = ctx.parameters, await ctx.look("directory.proposals_to")
        left = max(0, self.asked_at + dials.patience - ctx.tick)
        if proposals:
            facts = {
                **wants,
                "aspiration_cents": round(dials.aspiration * self.value_cents),
                "patience": left if len(proposals) < self.asked else 0,
                "asked": self.asked,
                "proposals": [{**one, "text": f'"{one["text"]}"'} for one in proposals],
                "credulity": dials.credulity,
            }
            answer = await ctx.ask(TEXTS["choose"], Decision, facts=facts, system=TEXTS["system"], purpose="choose")
            if not isinstance(answer, Abstained) and any(one["proposal"] == answer.proposal for one in proposals):
                ctx.act("directory.accept", proposal=answer.proposal)
                return
        self.done = left == 0


class Business(Agent):
    """A restaurant with one listing; `cheats` says whether it manipulates."""

    name: str
    cheats: Public[bool] = False

    async def turn(self, ctx: Context) -> None:
        """Propose to who has asked."""
        requests = [message for message in ctx.inbox if "items" in message.body and "sold" not in message.body]
        for message in requests:
            asked = message.body
            shown = await ctx.look("directory.listing", listing=asked["listing"])
            items = [item for item in asked["items"] if item in shown["prices"]]
            pushes = self.cheats and ctx.parameters.manipulation == "injection"
            facts = {
                "name": self.name,
                "items": items,
                "menu_cents": sum(shown["prices"][item] for item in items),
                "policy": TEXTS["pushing" if pushes else "honest"],
            }
            answer = await ctx.ask(TEXTS["propose"], Offer, facts=facts, system=TEXTS["system"], purpose="propose")
            if items and not isinstance(answer, Abstained):
                offer = {"listing": asked["listing"], "items": items, "price_cents": max(0, answer.price_cents)}
                ctx.act("directory.propose", to=message.sender, text=answer.text[:500], **offer)


def population(setup: Setup) -> dict[str, Population]:
    """Customers draw one to three items and one or two amenities; businesses a name, and whether they cheat."""
    draw, dials = setup.draw("customers"), setup.parameters
    customers, businesses = setup.count("customer"), setup.count("business")
    items = [draw.sample(ITEMS, 1 + draw.integer(3)) for _ in range(customers)]
    names = [f"{draw.choice(('Casa', 'Chez', 'Old', 'Blue', 'Royal'))} {at}" for at in range(businesses)]
    cheats = [draw.bernoulli(dials.manipulators) and dials.manipulation != "none" for _ in range(businesses)]
    return {
        "customer": Population(
            {
                "items": [", ".join(one) for one in items],
                "amenities": [", ".join(draw.sample(AMENITIES, 1 + draw.integer(2))) for _ in range(customers)],
                "value_cents": [len(one) * dials.value_cents for one in items],
            }
        ),
        "business": Population({"name": names, "cheats": cheats}),
    }


def world(setup: Setup, people: dict[str, Population]) -> World:
    """A listing for each business, with a menu, prices, amenities, a true quality and a delay of its own."""
    draw, dials = setup.draw("businesses"), setup.parameters
    listings = {}
    for seller, name, cheats in zip(
        setup.ids("business"), people["business"]["name"], people["business"]["cheats"], strict=True
    ):
        menu = draw.sample(ITEMS, min(dials.menu, len(ITEMS)))
        listing = {
            "name": name,
            "prices": {item: round(dials.value_cents * dials.price_share * draw.uniform(0.5, 1.5)) for item in menu},
            "attributes": [one for one in AMENITIES if draw.bernoulli(0.6)],
            "quality": draw.random(),
            "reviews": draw.integer(rules.USUAL_REVIEWS),
            "delay": draw.exponential(1.0) * dials.delay_ticks,
        }
        if dials.stock:
            listing["stock"] = dict.fromkeys(menu, dials.stock)
        listings[seller] = [rules.manipulated(listing, dials.manipulation if cheats else "none")]
    purses = [3 * value for value in people["customer"]["value_cents"]]
    cents = [*purses, *([0] * setup.count("business"))]
    return World(Directory(ITEMS, (*AMENITIES, rules.BADGE), listings=listings, cents=cents, ranking=dials.search))


society = Society(
    name="marketplace",
    about="Customers search, ask businesses for proposals and take one: the best, or the first?",
    types={"customer": Customer, "business": Business},
    population=population,
    world=world,
    parameters=Dials(),
    activation={"business": OnMail()},
    rules={
        "contact": lambda facts, draw: Contacts(**rules.contact(facts, draw)),
        "choose": lambda facts, draw: Decision(**rules.choose(facts, draw)),
        "propose": lambda facts, draw: Offer(**rules.propose(facts, draw)),
    },
    outcomes={
        "welfare": rules.welfare,
        "gain_share": rules.gain_share,
        "first_share": rules.first_share,
        "fast_advantage": rules.fast_advantage,
        "good_advantage": rules.good_advantage,
        "paid_to_cheats": rules.paid_to_cheats,
        "lost_cents": rules.lost_cents,
        "served": lambda world: rules.bought(world) / len(world.ids("customer")),
        "money_cents": lambda world: int(world.directory.ledger.cents.sum()),
    },
    size={"customer": 20, "business": 30},
    ticks=9,
)
