"""Societies with types of agents: one hash in every life, counts, levers, tables; and what is said of mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.attempts import go
from support.market import Firm, Household, population
from support.running import run_local

import populace
import populace.cluster.job as job_module
from populace import Agent, Every, Public, Setup, Society
from populace.agents.types import counts_of, split
from populace.core.errors import ScenarioError, SettingsError
from populace.env import World
from populace.kernel.saving import Keepers
from populace.testing import InvariantBroken, check_society

MARKET = str(Path(__file__).parent.parent / "support" / "market.py")
BIRTHS = str(Path(__file__).parent.parent / "support" / "births.py")
LEVERS = (
    "at=1, change={group={type='firm'}, fields={price=9.5}}",
    "at=2, until=4, block={sender={type='firm', share=0.4}, receiver={type='household', where={age={max=3}}}}",
    "at=3, send={to={type=['firm', 'household'], share=0.5}, body=1.25}",
    "at=2, change={group='all', fields={sold=40}}",
)


def hashes(manifest: dict[str, Any]) -> tuple[str, str]:
    return manifest["trace_hash"], manifest["world_hash"]


def test_a_society_with_types_is_one_in_every_life() -> None:
    found = check_society(MARKET, levers=LEVERS)
    assert (found.agents, found.asks > 0, found.messages > 0) == (15, True, True)


def test_control_rows_dealt_without_regard_to_the_type_are_another_run(monkeypatch) -> None:
    own = job_module.own_columns
    monkeypatch.setattr(job_module, "own_columns", lambda people, fields, index, shards, first: own(
        people, fields, (index * 2) % shards, shards
    ))  # fmt: skip
    with pytest.raises((InvariantBroken, ScenarioError, ValueError)):
        check_society(MARKET)


def test_control_agents_that_are_resumed_as_another_type_are_another_run(monkeypatch) -> None:
    monkeypatch.setattr(Keepers, "read", lambda self, packed, _id: self._own[0].read(packed))
    with pytest.raises((InvariantBroken, AttributeError)):
        check_society(MARKET)


@pytest.mark.ray
def test_types_on_ray(tmp_path: Path) -> None:
    one = run_local(tmp_path / "one", MARKET)
    run = populace.run(MARKET, model="scripted", seed=7, shards=2, transport="ray", out=tmp_path / "ray", quiet=True,
                       settings={"limits.failed_turns": 1.0})  # fmt: skip
    assert hashes(run.manifest) == hashes(one)


def test_first_ids_go_by_type_and_counts_by_settings(tmp_path: Path) -> None:
    run = populace.run(MARKET, model="scripted", agents={"firm": 5}, ticks=2, out=tmp_path / "run", quiet=True)
    table = run.table("agents")
    first = table[table.tick == 0]
    assert first.agent.tolist() == list(range(17))
    assert first.type.tolist() == ["firm"] * 5 + ["household"] * 12
    assert first.price.notna().tolist() == [True] * 5 + [False] * 12
    assert run.outcomes.ids.iloc[0] == sum(range(5)) * 1000 + sum(range(5, 17))
    assert run.manifest["agents"] == 17
    by_set = go(tmp_path / "set", scenario=MARKET, agents={"household": 3}, ticks=1)
    assert by_set["agents"] == 6
    by_total = go(tmp_path / "total", scenario=MARKET, agents=30, ticks=1)
    assert by_total["agents"] == 30


def test_a_total_is_split_in_proportion() -> None:
    assert split(30, {"firm": 3, "household": 12}) == {"firm": 6, "household": 24}
    assert split(2, {"firm": 1, "household": 999}) == {"firm": 1, "household": 1}
    assert split(7, {"a": 0, "b": 5, "c": 5}) == {"a": 0, "b": 4, "c": 3}
    for total in range(3, 60):
        found = split(total, {"a": 7, "b": 1, "c": 29})
        assert sum(found.values()) == total
        assert min(found.values()) >= 1
    with pytest.raises(SettingsError, match="2 types"):
        split(1, {"firm": 3, "household": 12})


def test_activation_is_by_type(tmp_path: Path) -> None:
    run = populace.run(MARKET, model="scripted", ticks=6, out=tmp_path / "run", quiet=True)
    table = run.table("agents")
    firms = table[(table.type == "firm") & (table.tick > 0)]
    assert firms.groupby("tick").size().tolist() == [3] * 6


def test_levers_by_type_touch_that_type_only(tmp_path: Path) -> None:
    run = populace.run(MARKET, model="scripted", levers=LEVERS, out=tmp_path / "run", quiet=True)
    rows = run.table("levers")
    assert set(rows[rows.lever == "levers[0]"].agent) == {0, 1, 2}
    blocked = set(rows[rows.lever == "levers[1]"].agent)
    assert blocked < {0, 1, 2}
    messages = run.table("messages")
    assert messages.fate.str.contains("blocked").any()
    assert messages[messages.fate.str.contains("blocked")].receiver.between(3, 14).all()
    assert set(rows[rows.lever == "levers[3]"].agent) == set(range(15))


@pytest.mark.parametrize(
    ("lever", "says"),
    [
        ("at=1, change={group={type='frim'}, fields={price=1}}", "no type of agents 'frim'; there are firm, household"),
        ("at=1, change={group={type='household'}, fields={price=1}}", "change.fields.price: Household has no such"),
        ("at=1, change={group='all', fields={price=1}}", "change.fields.price: Household has no such field"),
        ("at=1, send={to={type='firm', where={age=1}}, body=1}", "no column 'age'; it has price, sold"),
    ],
)
def test_levers_that_fit_no_type_are_named(lever: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=says):
        populace.run(MARKET, model="scripted", levers=[lever], out=tmp_path / "run", quiet=True)


def test_a_type_in_a_society_of_one_class_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"send.to.type: the society has one class of agents"):
        populace.run("polarization", model="scripted", levers=["at=1, send={to={type='firm'}, body=1}"],
                     out=tmp_path / "run", quiet=True)  # fmt: skip
    with pytest.raises(SettingsError, match=r"agents.firm: polarization has one class of agents"):
        populace.run("polarization", model="scripted", agents={"firm": 3}, out=tmp_path / "run", quiet=True)
    with pytest.raises(SettingsError, match=r"'agents.frim'.*Is 'agents.firm' meant"):
        populace.run(MARKET, model="scripted", agents={"frim": 3}, out=tmp_path / "run", quiet=True)


GIVEN: dict[str, Any] = {
    "name": "x", "types": {"firm": Firm, "household": Household}, "population": population,
    "size": {"firm": 3, "household": 12},
}  # fmt: skip


class Clash(Agent):
    price: Public[int] = 3

    async def turn(self, ctx: Any) -> None: ...


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"agent": Firm}, r"types= and agent= are both given"),
        ({"types": {}}, r"needs a class of agents: agent=Citizen, or several by name"),
        ({"types": {"a firm": Firm}}, r"'a firm' has to be a name"),
        ({"types": {"firm": Firm()}}, r"types\['firm'\]=Firm\(...\): it has to be the class"),
        ({"size": 20}, r'size=20: .* size={"firm": 5, "household": 50}'),
        ({"size": {"firm": 2}}, r"says how many agents there are of each"),
        ({"size": {"firm": 0, "household": 0}}, r"there have to be 1 to"),
        ({"size": {"firm": -1, "household": 3}}, r"size\['firm'\]=-1: it has to be a whole number from 0"),
        ({"activation": {"firms": Every(2)}}, r"activation: there is no type of agents 'firms'; there are firm, house"),
        ({"activation": {"firm": Every}}, r"activation\['firm'\]=Every: it has to be one of"),
        ({"types": {"firm": Firm, "c": Clash}, "size": {"firm": 1, "c": 1}}, r"Clash.price is int, and Firm.price"),
    ],
)
def test_declarations_that_cannot_be_are_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        Society(**{**GIVEN, **changes})


@pytest.mark.parametrize("name", ["id", "tick", "type", "agent"])
def test_reserved_names_of_fields_are_refused(name: str) -> None:
    space: dict[str, Any] = {"Agent": Agent}
    exec(f"class Citizen(Agent):\n    {name}: int = 0\n    async def turn(self, ctx): ...", space)
    with pytest.raises(ScenarioError, match=rf"Citizen.{name}: no field can be called '{name}'.*'own_{name}'.*ctx.id"):
        Society(name="x", agent=space["Citizen"], population=population)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda setup: population(setup)["household"], "must give a Population for each type.*not Population"),
        (lambda setup: {"homes": population(setup)["household"]}, "gives 'homes', which is no type of agents"),
        (lambda setup: {"household": population(setup)["household"].rows([0])}, r"setup.count\('household'\) = 12 for"),
        (lambda setup: {}, "Household: row 0 of the population does not fit"),
    ],
)
def test_populations_that_do_not_fit_their_types_are_named(given: Any, says: str, monkeypatch, tmp_path: Path) -> None:
    import support.market as market

    text = Path(MARKET).read_text(encoding="utf-8")
    (tmp_path / "own.py").write_text(f"{text}\n\nimport dataclasses, own_given\nsociety = dataclasses.replace("
                                     "society, population=own_given.given)\n", encoding="utf-8")  # fmt: skip
    module = type(market)("own_given")
    module.given = given  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "own_given", module)
    with pytest.raises(ScenarioError, match=says):
        populace.run(tmp_path / "own.py", model="scripted", out=tmp_path / "run", quiet=True)


def test_setup_says_who_is_of_which_type() -> None:
    setup = Setup(15, 7, None, 1.0, {"firm": 3, "household": 12})
    assert (setup.count("firm"), setup.ids("household")) == (3, range(3, 15))
    with pytest.raises(ScenarioError, match="no type of agents 'bank'; there are firm, household"):
        setup.count("bank")
    assert counts_of(Society(**GIVEN), None) == {"firm": 3, "household": 12}


def test_values_by_id_are_of_any_types(tmp_path: Path) -> None:
    from populace.env import Opening

    world = World()
    columns = {"firm": {"price": [1.0, 2.0], "sold": [1, 2]}, "household": {"sold": [3, 4, 5]}}
    fields = {"firm": {"price": float, "sold": int}, "household": {"sold": int}}
    world.open(Opening(agents=5, seed=1, tick_seconds=1.0, parameters=None, columns=columns, fields=fields,
                       draw=None, counts={"firm": 2, "household": 3}))  # fmt: skip
    assert world.values_of("sold", [4, 0, 2]).tolist() == [5, 1, 3]
    assert world.values_of("price", [1]).tolist() == [2.0]
    assert {of: [*one] for of, one in world.columns.items()} == {"firm": ["price", "sold"], "household": ["sold"]}
    assert world.look("columns.of", [0], [{"agents": [0, 4]}]) == [{"sold": [1, 5]}]
    with pytest.raises(ScenarioError, match="'price' is not a public field of type 'household'; there are: sold"):
        world.values_of("price", [1, 2])
    with pytest.raises(ScenarioError, match="no type of agents 'bank'"):
        world.ids("bank")


def test_tables_label_agents_by_type_wherever_they_name_them(tmp_path: Path) -> None:
    run = populace.run(MARKET, model="scripted", seed=7, out=tmp_path / "run", quiet=True, levers=[LEVERS[0]])
    types = {agent: "firm" if agent < 3 else "household" for agent in range(15)}
    for name in ("asks", "actions", "levers"):
        table = run.table(name)
        assert len(table)
        assert table["type"].tolist() == [types[agent] for agent in table["agent"]], name
        assert list(table.columns)[list(table.columns).index("agent") + 1] == "type"
    mail = run.table("messages", "arrow").to_pydict()
    assert mail["sender_type"] == [types[agent] for agent in mail["sender"]]
    assert mail["receiver_type"] == [types[agent] for agent in mail["receiver"]]
    assert run.table("agents").columns.tolist().count("type") == 1
    assert run.table("asks", "polars")["type"].unique().to_list() == ["household"]
    bare = populace.run(MARKET, model="scripted", out=tmp_path / "bare", quiet=True, settings={"record.agents": "none"})
    assert "type" not in bare.table("asks")


def test_newborns_are_labelled_and_the_world_has_no_type(tmp_path: Path) -> None:
    run = populace.run(BIRTHS, model="scripted", seed=7, out=tmp_path / "run", quiet=True,
                       levers=["at=2, send={to='all', body=1}"])  # fmt: skip
    mail = run.table("messages")
    born = run.table("turnover").query("what == 'born'").set_index("agent")["type"]
    to = mail[mail.receiver.isin(born.index)]
    assert len(to)
    assert to.receiver_type.tolist() == [born[agent] for agent in to.receiver]
    assert mail[mail.sender == -1].sender_type.isna().all()
    assert mail[mail.sender >= 0].sender_type.notna().all()
