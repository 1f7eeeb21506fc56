"""The loops that parts offer to agents' turns: both sides of a case, a task and proposals, and a feed's reader."""

from __future__ import annotations

from typing import Any

import pytest

import populace
from populace import Agent, OnMail, Population, Public, Society, World
from populace.core.errors import RunFailed
from populace.env import Directory, Domain, Network, Platform
from populace.env.cases import Cases, CaseSet, Fact, attend, solve
from populace.env.feed.browsing import browse
from populace.env.market.requesting import propose, request, take
from populace.env.tools import Task, Tools, be_served, serve

FACTS = [
    Fact(key="age", levels=("young", "old"), how="given"),
    Fact(key="pain"),
    Fact(key="pulse", how="examine"),
]
VALUES = {"age": ["old"], "pain": ["present"], "pulse": ["absent"]}
CASE = CaseSet(FACTS, VALUES, ["flu", "gout"], ["gout"])


def of(kind: Any, **rest: Any) -> Society:
    types = isinstance(kind, dict)
    people: Any = lambda setup: {} if types else Population.of_defaults(setup.agents)  # noqa: E731
    return Society(name="loops", population=people, **({"types": kind} if types else {"agent": kind}), **rest)


def run(society: Society, tmp_path: Any) -> Any:
    return populace.run(society, model="scripted", seed=1, quiet=True, out=tmp_path / "run")


class Doctor(Agent):
    log: Public[str] = ""

    async def turn(self, ctx: Any) -> None:
        async def choose(now: dict[str, Any]) -> Any:
            told = ",".join(f"{one['key']}={one['level']}" for one in now["told"])
            opened = [one for names in now["open"].values() for one in names]
            self.log += f"{told}/{now['said']}/{now['refused']}/{'+'.join(opened)}/{now['left']};"
            if "age" not in self.log.split(";")[-2] and now["known"].get("pulse"):
                return {"answer": "gout"}
            return [{"ask": "pain"}, {"ask": "pain"}, {"examine": "pulse"}][self.log.count(";") - 1]

        await solve(ctx, choose)


class Patient(Agent):
    heard: Public[int] = 0

    async def turn(self, ctx: Any) -> None:
        async def tell(heard: dict[str, Any]) -> Any:
            self.heard += 1
            return {"tell": heard["facts"], "say": "ouch"}

        await attend(ctx, tell)


class Eager(Agent):
    async def turn(self, ctx: Any) -> None:
        await ctx.round("cases", None)


def ward(patient: Any, holders: bool = True) -> Society:
    def world(setup: Any, people: Any) -> World:
        held = setup.ids("patient") if holders else None
        return World(Cases(CASE, solvers=setup.ids("doctor"), holders=held, within_tick=True))

    kinds = {"doctor": Doctor, "patient": patient}
    ends = {"right": lambda world: world.cases.mean("correct"), "asked": lambda world: world.cases.mean("questions")}
    return of(kinds, world=world, size={"doctor": 1, "patient": 2}, ticks=2, outcomes=ends)


held, unheld, eager = ward(Patient), ward(Patient, holders=False), ward(Eager)


def test_a_solver_is_told_what_came_to_light_and_a_holder_without_a_case_is_left_alone(tmp_path):
    made = run(held, tmp_path)
    told = made.table("agents").query("type == 'doctor'").log.iloc[-1]
    assert told.split(";")[:-1] == [
        "age=old///pain+pulse/20", "pain=present/ouch//pulse/19", "//already_asked/pulse/19", "pulse=absent////18",
    ]  # fmt: skip
    assert sorted(made.panel("heard", type="patient").iloc[-1]) == [0, 1]
    assert made.outcomes[["right", "asked"]].iloc[-1].tolist() == [1.0, 2.0]


def test_without_holders_the_world_tells_in_the_same_round(tmp_path):
    made = run(unheld, tmp_path)
    assert "pain=present///pulse/19" in made.table("agents").query("type == 'doctor'").log.iloc[-1]


def test_a_holder_that_does_not_look_whether_it_has_a_case_fails(tmp_path):
    with pytest.raises(RunFailed, match="in no group"):
        run(eager, tmp_path)


def put(db: Any, *, key: str) -> str:
    """Put a book on the table."""
    db.put("books", key, where="table")
    return key


DESK = Domain("desk", {"books": {"book": ["emma"], "where": ["shelf"]}}, [put], [])
TASK = Task(wish="emma, please", facts={"n": 1}, goal=(("put", {"key": "emma"}),))


class Clerk(Agent):
    log: Public[str] = ""

    async def turn(self, ctx: Any) -> None:
        async def step(now: dict[str, Any]) -> Any:
            self.log = f"{now['said']} {[one.get('result', one.get('refused')) for one in now['calls']]} {now['left']}"
            if len(now["said"]) == 1:
                return {"say": "which?"}
            keys = ["ulysses", "emma"]
            return (
                {"call": "put", "args": {"key": keys[len(now["calls"])]}} if len(now["calls"]) < 2 else {"done": True}
            )

        await serve(ctx, step)


class Reader(Agent):
    patience: Public[int] = 10

    async def turn(self, ctx: Any) -> None:
        async def say(now: dict[str, Any]) -> str | None:
            return "emma" if now["said"] else now["wish"]

        await be_served(ctx, say, patience=self.patience)


class Hasty(Reader):
    patience: Public[int] = 2


def library(reader: Any) -> Society:
    def world(setup: Any, people: Any) -> World:
        return World(Tools(DESK, [TASK], agents=setup.ids("clerk"), users=setup.ids("reader"), within_tick=True))

    ends = {name: lambda world, name=name: world.tools.mean(name) for name in ("passed", "calls", "refused")}
    kinds = {"clerk": Clerk, "reader": reader}
    return of(kinds, world=world, size={"clerk": 1, "reader": 2}, ticks=2, outcomes=ends)


served, hasty = library(Reader), library(Hasty)


def test_a_clerk_hears_and_calls_and_who_has_no_task_is_left_alone(tmp_path):
    made = run(served, tmp_path)
    said = made.table("agents").query("type == 'clerk'").log.iloc[-1]
    assert said == "['emma, please', 'emma', 'emma'] ['unknown_books', 'emma'] 49"
    assert made.outcomes[["passed", "calls", "refused"]].iloc[-1].tolist() == [1.0, 1.0, 1.0]


def test_a_user_without_patience_ends_the_task(tmp_path):
    assert run(hasty, tmp_path).outcomes.passed.iloc[-1] == 0.0


class Buyer(Agent):
    asked: Public[int] = 0
    chose: Public[int] = 0
    took: Public[int] = 0

    async def turn(self, ctx: Any) -> None:
        async def choose(proposals: list[dict[str, Any]]) -> int:
            self.chose += 1
            return 99 if self.chose == 1 else proposals[0]["proposal"]

        if ctx.tick == 0:
            found = await ctx.look("directory.search", items=["soup"], n=5)
            self.asked = request(ctx, [found[0]["listing"], found[0]["listing"], 77], found, ["soup", "cake"])
        else:
            self.took += await take(ctx, choose)


class Seller(Agent):
    async def turn(self, ctx: Any) -> None:
        async def offer(asked: dict[str, Any]) -> Any:
            assert asked["items"] == ["soup"]
            return {"price_cents": asked["menu_cents"] - 1, "text": "hot"}

        await propose(ctx, offer)


def shop(setup: Any, people: Any) -> World:
    listings = {seller: [{"prices": {"soup": 500}, "name": "a"}] for seller in setup.ids("seller")}
    return World(Directory(["soup", "cake"], listings=listings, cents=1_000))


market = of(
    {"buyer": Buyer, "seller": Seller}, world=shop, size={"buyer": 1, "seller": 1}, ticks=6,
    activation={"seller": OnMail()}, outcomes={"paid": lambda world: world.directory.sales.column("price_cents").sum()},
)  # fmt: skip


def test_a_buyer_asks_who_was_found_and_takes_what_came_and_nothing_else(tmp_path):
    made = run(market, tmp_path)
    asked, chose, took = (int(made.panel(name, type="buyer").iloc[-1, 0]) for name in ("asked", "chose", "took"))
    assert (asked, chose, took) == (1, 2, 1)  # the first choice is no proposal
    assert made.outcomes.paid.iloc[-1] == 499
    assert made.manifest["actions"]["refused"] == 0


class Browser(Agent):
    made: Public[int] = 0
    odd: Public[bool] = False

    async def turn(self, ctx: Any) -> None:
        async def react(post: dict[str, Any]) -> Any:
            return "shout" if self.odd else {1: "like", 2: ("comment", "so"), 3: None}.get(post["id"] % 4, "flag")

        self.made += await browse(ctx, react, most=2)
        if ctx.tick == 0:
            ctx.act("feed.post", text="news")


class Odd(Browser):
    odd: Public[bool] = True


def forum(kind: Any) -> Society:
    def world(setup: Any, people: Any) -> World:
        return World(Network.watts_strogatz(setup, neighbours=2, rewire=0.0), Platform(100, 6, memory=20))

    ends = {kind: lambda world, kind=kind: world.feed.count(kind) for kind in ("likes", "flags", "comments", "views")}
    return of(kind, world=world, size=6, ticks=2, outcomes=ends)


browsers, odd = forum(Browser), forum(Odd)


def test_a_reader_makes_so_many_reactions_and_has_read_all_that_was_shown(tmp_path):
    made = run(browsers, tmp_path)
    last, reactions = made.outcomes.iloc[-1].to_dict(), int(made.panel("made").iloc[-1].sum())
    kinds = [last[name] for name in ("likes", "flags", "comments")]
    assert sum(kinds) == reactions <= 12
    assert min(kinds) > 0
    assert last["views"] > reactions
    assert made.manifest["actions"]["refused"] == 0


def test_a_reaction_that_is_none_is_named(tmp_path):
    with pytest.raises(RunFailed, match="'shout' is no reaction"):
        run(odd, tmp_path)
