"""Every argument of a society, given a value of a wrong kind, is a ScenarioError that names file, line and argument."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace import Agent, Context, EveryTick, Parameters, Population, Society
from populace.agents.probes.survey import Survey
from populace.core.errors import PopulaceError, ScenarioError, SettingsError
from populace.data.societies import find_society, load_society


class Citizen(Agent):
    mood: float = 0.5

    async def turn(self, ctx: Context) -> None:
        """Nothing."""


class Mood(enum.Enum):
    calm = "calm"
    angry = "angry"


class Dials(Parameters):
    k: int = 1
    mode: Literal["slow", "fast"] = "slow"
    mood: Mood = Mood.calm
    late: Literal["a", "b"] | None = None


def people(setup: Any) -> Population:
    return Population({"mood": [0.5] * setup.agents})


GOOD: dict[str, Any] = {"name": "mine", "agent": Citizen, "population": people}

WRONG: dict[str, list[Any]] = {
    "name": [3, "", "../../evil", "a/b", "a\\b", "\x1b[2J", "x" * 101, None, ".hidden"],
    "agent": [[Citizen, Citizen], Citizen(), "Citizen", None, int],
    "types": [None, 3, [Citizen], {"a": Citizen}, {3: Citizen}],
    "population": [None, {"mood": [1.0]}, people(type("S", (), {"agents": 2})), lambda: None, "people", Population],
    "world": [None, 3, lambda setup: None, lambda a, b, c: None],
    "outcomes": [None, [people], {"mean": 3}, {3: people}, {"": people}, {"mean": lambda: 1.0}, people],
    "parameters": [Dials, {"k": 2}, None, 3, "k=2"],
    "activation": ["mail", EveryTick, None, 3, {"agent": EveryTick()}],
    "scripted": [3, "x", lambda ask: None, {}],
    "rules": [3, "x", None, [people], {"vote": 3}, {3: people}, {"": people}, {"vote": lambda facts: 1}],
    "model_roles": [3, "x", None, [people], {"vote": 3}, {3: "judge"}, {"agents": "judge"}, {"agent": "a b"},
                    {"agent": ""}],
    "size": [0, -1, 2.5, True, "10", None, 10**20, {"agent": 5}],
    "ticks": [0, -1, 2.5, True, "10", None, 10**20],
    "surveys": [None, 3, "cesd", Survey("cesd", at=[1]), ["cesd"], [None], {"cesd": [1]}, people],
    "tick_seconds": [0, -1.0, float("nan"), float("inf"), "60", None, True],
    "about": [None, 3],
    "influence": ["", 3, ["network"], {"network": 1}, lambda: None, lambda a, b: None],
}  # fmt: skip


def test_the_sweep_is_of_every_argument() -> None:
    assert set(WRONG) == set(Society.__dataclass_fields__)
    assert Society(**GOOD)


@pytest.mark.parametrize(("argument", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_argument_is_named(argument: str, value: Any) -> None:
    with pytest.raises(ScenarioError) as caught:
        Society(**{**GOOD, argument: value})
    assert str(caught.value).startswith(argument) or argument == "agent"


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.integers()),
    st.dictionaries(st.text(), st.integers()), st.just(Citizen), st.just(people), st.just(object()),
)  # fmt: skip


@given(st.sampled_from(sorted(WRONG)), ANYTHING)
def test_whatever_is_given_is_taken_or_refused_by_name(argument: str, value: Any) -> None:
    said = argument
    try:
        Society(**{**GOOD, argument: value}).with_parameters({})
    except PopulaceError as error:
        said = str(error)
    assert argument in said


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("parameters=Dials", "write parameters=Dials()"),
        ('parameters={"k": 2}', "`class Dials(Parameters): k: int = 2`, and parameters=Dials()"),
        ('activation="mail"', "OnMail()"),
        ("agent=[Citizen, Citizen]", "Several types of agents are given by name"),
        ("ticks=10**20", "a whole number from 1 to 2,147,483,647"),
    ],
)
def test_a_file_says_where_and_what_to_write(argument: str, says: str, tmp_path: Path) -> None:
    name = argument.partition("=")[0]
    rest = ", ".join(f"{key}={text}" for key, text in
                     {"name": '"mine"', "agent": "Citizen", "population": "people"}.items() if key != name)  # fmt: skip
    (tmp_path / "mine.py").write_bytes(
        b"\xef\xbb\xbf"
        + f"""from populace import Agent, Parameters, Population, Society
class Citizen(Agent):
    mood: float = 0.5
    async def turn(self, ctx): ...
class Dials(Parameters):
    k: int = 1
def people(setup):
    return Population({{"mood": [0.5] * setup.agents}})
society = Society({rest}, {argument})
""".encode()
    )
    with pytest.raises(ScenarioError) as caught:
        load_society(find_society(str(tmp_path / "mine.py")))
    assert f"{tmp_path / 'mine.py'}:9: cannot be loaded: {name}=" in str(caught.value)
    assert says in str(caught.value)


def test_a_file_that_ends_the_process_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import sys\nsys.exit(0)\n", encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"mine\.py:2: cannot be loaded: it ends the process"):
        load_society(find_society(str(tmp_path / "mine.py")))


@pytest.mark.parametrize(
    ("key", "says"), [("mode", "'slow', 'fast'"), ("mood", "'calm', 'angry'"), ("late", "'a', 'b'")]
)
def test_a_value_that_is_none_of_those_there_are_is_told_them(key: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Society(**GOOD, parameters=Dials()).with_parameters({key: "other"})
    assert f"`$.{key}`; there are {says}." in str(caught.value)
