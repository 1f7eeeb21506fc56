"""An agent that a checkpoint would change is found while the run goes on; one that it keeps is left alone."""

from __future__ import annotations

import datetime as dt
import enum
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.attempts import go

from populace.agents.agent import Agent, Public
from populace.core.errors import ScenarioError
from populace.kernel.saving import check_saved, pack_agent
from populace.store.tables.tables import read_table


class Mood(enum.StrEnum):
    GOOD = "good"


class Friend(msgspec.Struct):
    name: str
    since: int = 0


class Best(Friend):
    why: str = ""


class Keeper(Agent):
    score: Public[float] = 0.0
    weight: float = 0.0
    name: str = ""
    anything: Any = None
    pair: tuple[int, str] = (0, "")
    seen: set[int] = set()
    friends: list[Friend] = []
    by_id: dict[int, Friend] = {}
    mood: Mood = Mood.GOOD
    when: dt.datetime | None = None

    async def turn(self, ctx) -> None: ...


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"pair": (3, "x"), "seen": {3, 1, 2**40}, "friends": [Friend("a", 1)], "by_id": {7: Friend("b")}},
        {"anything": {"a": [1, 2.5, None, True, b"x", {3: "y"}]}, "weight": math.nan},
        {"mood": Mood.GOOD, "when": dt.datetime(2024, 5, 1, 3, tzinfo=dt.UTC)},
    ],
)
def test_what_comes_back_as_it_was_is_left_alone(fields: dict[str, Any]) -> None:
    check_saved(Keeper(**fields), 3)


@pytest.mark.parametrize(
    ("fields", "where", "why"),
    [
        ({"anything": (1, 2)}, "Keeper.anything", "holds a tuple, which a resumed run reads as a list"),
        ({"anything": {"deep": [{"deeper": (1,)}]}}, "Keeper.anything['deep'][0]['deeper']", "tuple"),
        ({"anything": Friend("a")}, "Keeper.anything", "holds a Friend, which a resumed run reads as a dict"),
        ({"anything": {1, 2}}, "Keeper.anything", "holds a set"),
        ({"anything": Mood.GOOD}, "Keeper.anything", "holds a Mood"),
        ({"weight": 1}, "Keeper.weight", "holds an int, which a resumed run reads as a float"),
        ({"friends": [Best("a")]}, "Keeper.friends[0]", "holds a Best, which a resumed run reads as a Friend"),
        ({"name": 3}, "$.name", "cannot be read back"),
        ({"name": "\ud800"}, "Keeper.name", "cannot be saved"),
        ({"anything": 2**64}, "Keeper.anything", "cannot be saved"),
        ({"anything": object()}, "Keeper.anything", "cannot be saved"),
    ],
)
def test_what_would_come_back_as_another_is_named(fields: dict[str, Any], where: str, why: str) -> None:
    with pytest.raises(ScenarioError) as found:
        check_saved(Keeper(**fields), 3)
    said = str(found.value)
    assert where in said
    assert why in said
    assert "agent 3" in said


def test_what_cannot_be_packed_names_its_agent() -> None:
    with pytest.raises(ScenarioError, match=r"Keeper\.anything of agent 12 cannot be saved"):
        pack_agent(Keeper(anything=object()), 12)


SCENARIO = """
from typing import Any
from populace import Agent, Population, Public, Society

class Rememberer(Agent):
    mood: Public[float] = 0.0
    memory: Any = None

    async def turn(self, ctx):
        if ctx.tick == 2 and self.mood < 100:
            self.memory = ("tick", ctx.tick)

society = Society(
    name="rememberers", agent=Rememberer, population=lambda setup: Population({"mood": [0.0] * setup.agents})
)
"""


@pytest.mark.parametrize("shards", [1, 3])
def test_a_run_whose_agents_would_not_come_back_ends_when_it_is_found(tmp_path: Path, shards: int) -> None:
    scenario = tmp_path / "mine.py"
    scenario.write_text(SCENARIO)
    with pytest.raises(ScenarioError, match=r"Rememberer\.memory holds a tuple"):
        go(tmp_path / "run", scenario=str(scenario), agents=40, ticks=4, shards=shards)
    with pytest.raises(ScenarioError, match=r"Rememberer\.memory holds a tuple"):
        go(tmp_path / "off", scenario=str(scenario), agents=40, ticks=4, shards=shards, journal="off")


LIVES = """
from typing import Any
from populace import Agent, Population, Public, Society
from populace.core.containers import OrderedFrozenSet, OrderedSet

class Mind(Agent):
    mood: Public[float] = 0.0
    read: Public[str] = ""
    seen: set[str] = set()
    met: set[int] = set()
    groups: dict[str, frozenset[str]] = {}
    log: list[str] = []
    recent: list[str] = []
    memory: Any = None

    async def turn(self, ctx):
        for message in ctx.inbox:
            self.seen.add(message.body)
            self.met |= {message.sender, message.sender * 64}
            self.groups[message.body[:1]] = OrderedFrozenSet(self.seen | {"me"})
        if len(self.met) > 8:
            self.met -= OrderedSet(list(self.met)[2:])
        self.log.append(f"tick {ctx.tick}")
        DEED
        said = [*self.seen, *self.met, *sorted(self.groups), *self.groups.get("w", ()), *self.recent]
        self.read = f"{said} {self.seen} {self.met}"
        ctx.send([(ctx.id * 7 + 3 + ctx.tick) % 40, (ctx.id + 1) % 40], f"w{ctx.id * ctx.tick}")

society = Society(
    name="minds", agent=Mind, population=lambda setup: Population({"mood": [0.0] * setup.agents}), size=40, ticks=8
)
"""
HASHED = """
import sys
sys.path.insert(0, TESTS)
from pathlib import Path
from support.attempts import go
from populace.runs.courses import resume_course
out, scenario, shards = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
assert go(out, scenario=scenario, agents=40, ticks=8, stop_at=4, shards=shards, checkpoint__every_ticks=1) is None
print(go(out, going=resume_course(out, shards=4 - shards))["trace_hash"])
"""


def minds(folder: Path, deed: str = "pass") -> str:
    path = folder / "minds.py"
    path.write_text(LIVES.replace("DEED", deed))
    return str(path)


def test_sets_are_read_alike_in_every_process_on_any_shards_and_after_a_resume(tmp_path: Path) -> None:
    scenario, found = minds(tmp_path), []
    code = HASHED.replace("TESTS", repr(str(Path(__file__).parents[1])))
    for hash_seed, shards in (("1", 1), ("2", 3)):
        told = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / hash_seed), scenario, str(shards)], check=False,
            env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True,
        )  # fmt: skip
        assert not told.returncode, told.stderr
        found.append(told.stdout.split()[-1])
    assert found == [go(tmp_path / "here", scenario=scenario, agents=40, ticks=8)["trace_hash"]] * 2


def test_a_turn_that_makes_a_plain_set_needs_a_fixed_hash_seed(tmp_path: Path) -> None:
    scenario = minds(tmp_path, "self.recent = [*{message.body for message in ctx.inbox}]")
    code = HASHED.replace("TESTS", repr(str(Path(__file__).parents[1])))
    found = []
    for hash_seed, shards in (("random", 1), ("0", 1), ("0", 3)):
        found.append(subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / f"{hash_seed}{shards}"), scenario, str(shards)], check=False,
            env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True,
        ))  # fmt: skip
    assert re.search(r"minds\.py:\d+: a turn makes a set, .*PYTHONHASHSEED=0", found[0].stderr)
    assert found[1].stdout.split()[-1] == found[2].stdout.split()[-1]


@pytest.mark.parametrize(
    ("deed", "said"),
    [
        ("self.recent = self.log", r"Mind\.log and Mind\.recent of agent 0 are one and the same list"),
        ("self.memory = [{'all': self.log}]", r"Mind\.log and Mind\.memory\[0\]\['all'\] of agent 0"),
        ("if ctx.id == 33 and ctx.tick == 2: self.memory = (1,)", r"Mind\.memory holds a tuple, .*\(agent 33\)"),
        ("if ctx.id == 33 and ctx.tick == 2: self.memory = {'x': self.met}", r"Mind\.memory\['x'\] holds a set"),
        ("if ctx.id == 33 and ctx.tick == 2: self.mood = 1; self.log = ('a',)", r"Mind\.log holds a tuple"),
        ("if ctx.tick == 2: self.log = SHARED", r"Mind\.log of agent \d+ and Mind\.log of agent \d+ are one"),
    ],
)
@pytest.mark.parametrize("shards", [1, 3])
def test_what_a_resume_would_change_ends_the_run_in_its_first_tick(
    tmp_path: Path, deed: str, said: str, shards: int
) -> None:
    scenario = minds(tmp_path, deed)
    Path(scenario).write_text("SHARED = []\n" + Path(scenario).read_text())
    with pytest.raises(ScenarioError, match=said):
        go(tmp_path / "run", scenario=scenario, agents=40, ticks=3, shards=shards)


def test_a_parameter_that_a_turn_changes_is_named(tmp_path: Path) -> None:
    text = LIVES.replace("DEED", "ctx.parameters.CHANGE").replace(
        "import Agent,", "import Agent, Parameters,").replace("size=40", "parameters=Dials(), size=40")  # fmt: skip
    dials = """
import msgspec
class Inner(msgspec.Struct):
    n: int = 0
class Dials(Parameters):
    names: list[str] = []
    by: dict[str, list[int]] = msgspec.field(default_factory=lambda: {"a": [1]})
    inner: Inner = msgspec.field(default_factory=Inner)
class Mind"""
    text = text.replace("class Mind", dials.lstrip("\n"), 1)
    for change, said in (("names.append(1)", "ctx.parameters.names"), ("by['a'].sort()", "ctx.parameters.by['a']")):
        (tmp_path / "minds.py").write_text(text.replace("CHANGE", change))
        manifest = go(tmp_path / said, scenario=str(tmp_path / "minds.py"), agents=40, ticks=1)
        assert manifest["turns_failed"] == 40
        failures = read_table(tmp_path / said, "failures").to_pylist()
        assert f"{said} is shared by all agents and cannot be changed" in str(failures[0])
    (tmp_path / "minds.py").write_text(text.replace("CHANGE", "inner.n += 1"))
    with pytest.raises(ScenarioError, match="the parameter 'inner' was changed by a turn of tick 0"):
        go(tmp_path / "inner", scenario=str(tmp_path / "minds.py"), agents=40, ticks=1)
