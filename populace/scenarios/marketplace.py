"""Customers look for restaurants: do they find the best offer, or the first? After Magentic Marketplace.

A customer searches the directory, asks some of the results for a proposal, and takes one of those that come, or none.
A business proposes a price; its proposal takes as long as the business is slow. The paper is arXiv:2510.25779. Arms,
by `--set society.`: `search` and `results`, `delay_ticks`, `manipulation` with `manipulators` and `credulity`; and
the number of businesses.

The check is of theory. The rule mind satisfices (Simon 1955): it takes the first proposal that is good enough, and
where `aspiration` is above 1 compares all. It goes by what it is shown; that badges and firm words work on it is the
parameter `credulity`.
"""

from typing import Any, Literal

import numpy as np

from populace import Abstained, Agent, Context, OnMail, Parameters, Population, Public, Setup, Society, World
from populace.env import Directory
from populace.env.market import directory_measures as measures
from populace.env.market.directory_measures import Wants
from populace.env.market.random_listings import random_listing, random_lists
from populace.env.market.requesting import propose, request, take
from populace.scenarios import _marketplace_rules as rules
from populace.scenarios._data import Count, Share, prompts

TEXTS = prompts("marketplace")
ITEMS = ("tacos", "soup", "salad", "noodles", "curry", "pizza", "cake", "coffee")
SEEN = ("listing", "name", "text", "attributes")
AMENITIES = ("patio", "wifi", "parking", "live music", "delivery")


class Dials(Parameters, frozen=True):
    """`search` and `results` are what a search gives; `attention` is how many results a customer reads.

    To ask a business costs a customer `contact_cents` of its gain, and nobody is paid them. A menu has `menu` items.

    A proposal takes a delay that is drawn for each business, exponential with a mean of `delay_ticks`. A customer takes
    the first proposal that leaves it `aspiration` of what a perfect place is worth to it (above 1: it compares all),
    and after `patience` ticks the best one that leaves it anything. Of the businesses a share of `manipulators` cheats,
    by `manipulation`; a customer falls for it as its `credulity` (0 to 1) says. `value_cents` is what an
    item from a perfect place is worth, and `price_share` what share of it items cost on average; `stock` is how many
    units of an item a business has (0: enough for all).
    """

    search: Literal["perfect", "lexical", "random"] = "perfect"
    results: Count = 10
    attention: Count = 100
    contact_cents: int = 5
    delay_ticks: float = 1.0
    aspiration: float = 0.3
    patience: Count = 6
    manipulation: Literal["none", "claims", "badges", "social_proof", "injection"] = "none"
    manipulators: Share = 0.2
    credulity: Share = 0.5
    value_cents: int = 1_200
    price_share: float = 0.1
    menu: Count = 6
    stock: int = 0


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
        dials, left = ctx.parameters, max(0, self.asked_at + ctx.parameters.patience - ctx.tick)
        wants = {"items": self.items, "amenities": self.amenities, "value_cents": self.value_cents}

        async def choose(proposals: list[dict[str, Any]]) -> int | None:
            facts = {
                **wants, "asked": self.asked, "credulity": dials.credulity,
                "aspiration_cents": round(dials.aspiration * self.value_cents),
                "patience": left if len(proposals) < self.asked else 0,
                "proposals": [{**one, "text": f'"{one["text"]}"'} for one in proposals],
            }  # fmt: skip
            one = await ctx.ask(TEXTS["choose"], rules.Decision, facts=facts, system=TEXTS["system"], purpose="choose")
            return None if isinstance(one, Abstained) else one.proposal

        self.done = self.done or any("bought" in message.body for message in ctx.inbox)
        if not self.done and self.asked_at < 0:
            await self.ask_around(ctx, wants)
        elif not self.done:
            self.done = not await take(ctx, choose) and left == 0

    async def ask_around(self, ctx: Context, wants: dict[str, Any]) -> None:
        """Search, and ask some of the results for a proposal."""
        dials, items, attributes = ctx.parameters, self.items.split(", "), self.amenities.split(", ")
        query = {"items": items, "attributes": attributes, "value_cents": self.value_cents, "n": dials.results}
        found = await ctx.look("directory.search", **query)
        results = [{**{name: one[name] for name in SEEN}, "menu": [*one["prices"]]} for one in found]
        facts = {**wants, "results": results, "attention": dials.attention, "contact_cents": dials.contact_cents}
        answer = await ctx.ask(TEXTS["contact"], rules.Contacts, facts=facts, system=TEXTS["system"], purpose="contact")
        chosen = [] if isinstance(answer, Abstained) else answer.listings
        self.asked, self.asked_at = request(ctx, chosen, found[: dials.attention], items), ctx.tick
        self.done = self.asked == 0


class Business(Agent):
    """A restaurant with one listing; `cheats` says whether it manipulates."""

    name: str
    cheats: Public[bool] = False

    async def turn(self, ctx: Context) -> None:
        """Propose to who has asked."""
        pushes = self.cheats and ctx.parameters.manipulation == "injection"

        async def offer(asked: dict[str, Any]) -> dict[str, Any] | None:
            facts = {"name": self.name, "items": asked["items"], "menu_cents": asked["menu_cents"]}
            facts |= {"policy": TEXTS["pushing" if pushes else "honest"]}
            one = await ctx.ask(TEXTS["propose"], rules.Offer, facts=facts, system=TEXTS["system"], purpose="propose")
            return (
                None if isinstance(one, Abstained) else {"price_cents": max(0, one.price_cents), "text": one.text[:500]}
            )

        await propose(ctx, offer)


def population(setup: Setup) -> dict[str, Population]:
    """Customers draw one to three items and one or two amenities; businesses a name, and whether they cheat."""
    draw, dials, customers = setup.draw("customers"), setup.parameters, setup.count("customer")
    items = random_lists(draw, customers, ITEMS, most=3)
    names = [f"{draw.choice(('Casa', 'Chez', 'Old', 'Blue', 'Royal'))} {at}" for at in range(setup.count("business"))]
    cheats = [draw.bernoulli(dials.manipulators) and dials.manipulation != "none" for _ in names]
    amenities = random_lists(draw, customers, AMENITIES, most=2)
    values = [len(one.split(", ")) * dials.value_cents for one in items]
    return {
        "customer": Population({"items": items, "amenities": amenities, "value_cents": values}),
        "business": Population({"name": names, "cheats": cheats}),
    }


def world(setup: Setup, people: dict[str, Population]) -> World:
    """A listing for each business, with a menu, prices, amenities, a true quality and a delay of its own."""
    draw, dials, sellers = setup.draw("businesses"), setup.parameters, people["business"]
    listings = {}
    for seller, name, cheats in zip(setup.ids("business"), sellers["name"], sellers["cheats"], strict=True):
        one = random_listing(
            draw, ITEMS, AMENITIES, name=name, menu=dials.menu, price_cents=dials.value_cents * dials.price_share,
            reviews=rules.USUAL_REVIEWS, delay_ticks=dials.delay_ticks, stock=dials.stock or None,
        )  # fmt: skip
        listings[seller] = [rules.manipulated(one, dials.manipulation if cheats else "none")]
    cents = [*(3 * value for value in people["customer"]["value_cents"]), *([0] * len(sellers))]
    return World(Directory(ITEMS, (*AMENITIES, rules.BADGE), listings=listings, cents=cents, ranking=dials.search))


def wants(world: World) -> Wants:
    """What customers want, and what they have spent on asking, for the measures."""
    columns = world.columns["customer"]
    spent = world.parameters.contact_cents * columns["asked"].sum()
    return Wants.of(world.ids("customer"), columns["items"], columns["amenities"], columns["value_cents"], spent)


def cheats(world: World) -> Any:
    """The ids of businesses that cheat."""
    return world.ids("business")[np.array(world.columns["business"]["cheats"], bool)]


society = Society(
    name="marketplace",
    about="Customers search, ask businesses for proposals and take one: the best, or the first?",
    types={"customer": Customer, "business": Business},
    population=population,
    world=world,
    parameters=Dials(),
    activation={"business": OnMail()},
    rules=rules.RULES,
    outcomes={
        **measures.outcomes(wants),
        "paid_to_cheats": lambda world: measures.paid_share(world.directory, cheats(world)),
        "lost_cents": lambda world: measures.lost_cents(world.directory, wants(world), cheats(world)),
    },
    size={"customer": 20, "business": 30},
    ticks=9,
)
