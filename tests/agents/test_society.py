"""Societies: found by path, module or name; loaded from text; and errors that name the file and the line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from populace.agents.agent import Agent, Public
from populace.agents.population import Population, make_agents
from populace.agents.society import Society
from populace.cluster.job import Job, build_run, build_shard, plan_job
from populace.core.draws import Stream
from populace.core.errors import ScenarioError, SettingsError
from populace.data.societies import Origin, find_society, load_society, shipped
from populace.kernel.shard import Shard
from populace.settings import Settings

HEAD = """\
from populace.agents.agent import Agent, Public
from populace.agents.population import Population
from populace.agents.society import Parameters, Society

class Citizen(Agent):
    mood: Public[float] = 0.5
    name: str = "nobody"
    async def turn(self, ctx): ...

class Knobs(Parameters, frozen=True):
    strength: float = 1.0
    names: tuple[str, ...] = ("a",)

def people(setup):
    return Population({"name": ["a"] * setup.agents})

"""
OF_BAD = "society = Society(name='m', agent=Bad, population=people)\n"
GOOD = HEAD + 'society = Society(name="mine", agent=Citizen, population=people, parameters=Knobs(), size=4, ticks=2)\n'


def shard_of(job: Job, index: int) -> Shard:
    """A shard, from its part of what is built once."""
    return build_shard(job, index, build_run(job).part(index, job.read_settings().shards))


def origin(folder: Path, text: str, name: str = "mine.py") -> Origin:
    (folder / name).write_text(text, encoding="utf-8")
    return find_society(str(folder / name))


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        load_society(origin(folder, text))
    return str(caught.value)


def test_a_file_is_found_loaded_and_built(tmp_path: Path) -> None:
    found = origin(tmp_path, GOOD)
    society = load_society(found)
    assert (society.name, society.fields) == ("mine", {"mood": float})
    assert load_society(Origin(found.name, found.source)) is society, "one process runs a text once"
    job = plan_job(found, Settings(shards=3))
    assert (job.agents, job.ticks) == (4, 2)
    assert [len(shard_of(job, index).agents) for index in range(3)] == [2, 1, 1]
    assert build_run(job).environment.world.columns["mood"].tolist() == [0.5] * 4


def test_the_text_that_was_found_is_what_runs(tmp_path: Path) -> None:
    found = origin(tmp_path, GOOD)
    (tmp_path / "mine.py").write_text("raise SystemExit", encoding="utf-8")
    assert load_society(found).name == "mine"


def test_a_file_runs_as_its_own_text_says(tmp_path: Path) -> None:
    text = GOOD + "assert Citizen.__annotations__['name'] is str, 'a future import of ours leaked in'\n"
    assert load_society(origin(tmp_path, text)).name == "mine"


def test_a_file_may_import_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "neighbour_of_mine.py").write_text("NAME = 'next door'\n", encoding="utf-8")
    text = "from neighbour_of_mine import NAME\n" + GOOD.replace('"mine"', "NAME")
    assert load_society(origin(tmp_path, text)).name == "next door"


def test_every_scenario_that_ships_can_be_found_and_loaded() -> None:
    assert "polarization" in shipped()
    for name in shipped():
        found = find_society(name)
        assert (found.name, found.source is not None) == (f"populace.scenarios.{name}", True)
        assert load_society(found) is load_society(Origin(found.name)), "as it ships, it is the module's own"
        assert isinstance(load_society(find_society(name)), Society)


@pytest.mark.parametrize("name", ["no_such_scenario", "no.such.module", "", ".", "..x", "polar ization"])
def test_an_unknown_name_names_those_there_are(name: str) -> None:
    with pytest.raises(ScenarioError, match=r"no scenario .*polarization.*path ending in \.py"):
        find_society(name)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"none\.py: cannot be read"):
        find_society(str(tmp_path / "none.py"))
    (tmp_path / "latin.py").write_bytes(b"# caf\xe9\n")
    with pytest.raises(ScenarioError, match=r"latin\.py: is not UTF-8"):
        find_society(str(tmp_path / "latin.py"))


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("x = 1\ny = (\n", 2, "SyntaxError"),
        ("x = 1\n\nimport no_such_package\n", 3, "ModuleNotFoundError: No module named 'no_such_package'"),
        ("def f():\n    return {}['a']\n\nf()\n", 2, "KeyError: 'a'"),
        (HEAD + "class Bad(Citizen):\n    x: Public[list] = []\n\n" + OF_BAD,
         HEAD.count("\n") + 4, "Bad.x: a public field is a float, int, bool or str"),
        (HEAD + "class Bad(Citizen):\n    y: list[int] | set[int] = []\n\n" + OF_BAD,
         HEAD.count("\n") + 4, "Bad: its fields must be plain data"),
        (HEAD + "society = Society(nam='m', agent=Citizen, population=people)\n", HEAD.count("\n") + 1, "'nam'"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_run_is_named_with_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    said = refusal(tmp_path, text)
    assert said.startswith(f"{tmp_path / 'mine.py'}:{line}: cannot be loaded: ")
    assert says in said


def test_a_module_that_cannot_be_run_is_named_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_module_of_mine.py").write_text("x = 1\nx.y\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ScenarioError, match=r"broken_module_of_mine\.py:2: cannot be loaded: AttributeError"):
        load_society(find_society("broken_module_of_mine"))


@pytest.mark.parametrize(("text", "n"), [(HEAD, 0), (GOOD + GOOD.splitlines()[-1].replace("society =", "other ="), 2)])
def test_a_file_holds_exactly_one_society(tmp_path: Path, text: str, n: int) -> None:
    said = "holds 2 societies: say which one, for example" if n else "holds no society: write"
    assert f"mine.py: {said}" in refusal(tmp_path, text)


def test_parameters_are_typed_and_unknown_ones_refused(tmp_path: Path) -> None:
    society = load_society(origin(tmp_path, GOOD))
    changed = society.with_parameters({"strength": 2})
    assert (changed.strength, type(changed.strength), changed.names) == (2.0, float, ("a",))
    assert society.with_parameters({}) == society.parameters
    with pytest.raises(SettingsError, match=r"'society\.strenght'\. The parameters of mine are: strength, names"):
        society.with_parameters({"strenght": 2})
    with pytest.raises(SettingsError, match=r"\[society\] of mine: .*strength"):
        society.with_parameters({"strength": "high"})
    with pytest.raises(SettingsError, match="unknown key"):
        plan_job(origin(tmp_path, GOOD), Settings(society={"x": 1}))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('return {"name": ["a"]}', "must give a Population of setup.agents = 4, not dict"),
        ("return Population({'name': ['a'] * 3})", "must give a Population of setup.agents = 4, not 3"),
        ("return Population({'name': ['a'] * 4, 'mood': [1.0]})", "one length"),
        ("return Population({})", "one length"),
        ("return 1 / 0", "ZeroDivisionError"),
        ("return Population({'mood': [1.0, 2.0, 'x', 3.0]})", "row 2 of the population does not fit"),
    ],
)
def test_a_population_that_cannot_be_used_says_why(tmp_path: Path, body: str, says: str) -> None:
    text = GOOD.replace('return Population({"name": ["a"] * setup.agents})', body)
    job = plan_job(origin(tmp_path, text), Settings())
    with pytest.raises(ScenarioError, match=says):
        shard_of(job, 0)


def test_a_world_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    text = GOOD.replace("population=people,", "population=people, world=lambda setup, people: None,")
    with pytest.raises(ScenarioError, match="must give a World, not NoneType"):
        shard_of(plan_job(origin(tmp_path, text), Settings()), 0)


class Person(Agent):
    age: Public[int]
    tags: list[str] = msgspec.field(default_factory=list)


def test_agents_are_made_row_by_row_with_checked_types() -> None:
    people = Population({"age": [1, 2], "tags": [["x"], []], "group": ["a", "b"]})
    assert make_agents(Person, people.columns, range(len(people))) == [Person(age=1, tags=["x"]), Person(age=2)]
    bad: list[Any] = [({"age": [1, 2.5]}, "row 1"), ({"tags": [["x"]]}, "age"), ({"age": [1], "tags": [[1]]}, "tags")]
    for columns, says in bad:
        with pytest.raises(ScenarioError, match=says):
            make_agents(Person, columns, range(len(next(iter(columns.values())))))
    with pytest.raises(KeyError, match="there are age, tags, group"):
        people["agee"]


def test_a_sample_is_with_replacement_keeps_rows_whole_and_is_keyed() -> None:
    table: dict[str, Any] = {"age": list(range(20)), "twice": [2 * n for n in range(20)]}
    people = Population.sample(table, 200, Stream(7, -1, 0, "people"))
    assert len(people) == 200
    assert people["twice"] == [2 * age for age in people["age"]]
    assert set(people["age"]) == set(range(20))
    assert people.columns == Population.sample(table, 200, Stream(7, -1, 0, "people")).columns
    assert people["age"] != Population.sample(table, 200, Stream(8, -1, 0, "people"))["age"]
    assert people.rows([3, 1])["age"] == [people["age"][3], people["age"][1]]
