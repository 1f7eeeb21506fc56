"""What ends a run before its first tick: refused before a folder is made, or nothing is left of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.running import SOCIETIES

import populace
from populace.core.errors import ModelError, PopulaceError, ScenarioError, SettingsError
from populace.settings import load_settings

QUIET: Any = {"quiet": True, "agents": 8, "ticks": 2}
BROKEN = """
from populace import Agent, Population, Society

class Citizen(Agent):
    async def turn(self, ctx):
        pass

def population(setup):
    return Population({"x": [1 / 0]})

society = Society(name="broken", agent=Citizen, population=population)
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"model.kind": "openai"}, SettingsError, "model.name is empty"),
        ({"model.kind": "openai", "model.name": "gpt-4.1", "budget.usd": 1.0}, SettingsError,
         'budget.prices."gpt-4.1".usd_per_million_tokens_in'),
        ({"model.kind": "openai", "model.name": "m"}, ModelError, "needs an API key"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_asked_leaves_no_folder(settings: dict[str, Any], error: type, says: str) -> None:
    with pytest.raises(error, match=says) as raised:
        populace.run(SOCIETIES, settings=settings, **QUIET)
    assert not any("resume" in text for text in (str(raised.value), *getattr(raised.value, "__notes__", ())))
    assert not Path("runs").exists()


def test_a_society_that_cannot_be_built_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    with pytest.raises(ScenarioError, match="division by zero"):
        populace.run("broken.py", model="scripted", **QUIET)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["broken.py"]


def test_what_is_not_the_runs_own_stays(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(PopulaceError):
        populace.run(SOCIETIES, settings={"model.kind": "openai", "model.name": "m"}, out="out", **QUIET)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_fork_that_cannot_begin_leaves_its_parent_only() -> None:
    run = populace.run(SOCIETIES, model="scripted", **QUIET)
    for settings in ({"model.kind": "openai"}, {"model.kind": "openai", "model.name": "m", "budget.usd": 1.0}):
        with pytest.raises(PopulaceError):
            populace.fork(run, 1, settings=settings, quiet=True)
    assert [path.name for path in Path("runs").iterdir()] == [run.folder.name]


def test_a_run_that_failed_in_its_first_tick_stays_and_can_be_resumed(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(
        BROKEN.replace('{"x": [1 / 0]}', '{"x": [0] * setup.agents}, extra=["x"]').replace("pass", "1 / 0")
    )
    with pytest.raises(PopulaceError) as raised:
        populace.run("failing.py", model="scripted", **QUIET)
    assert any("resume" in note for note in raised.value.__notes__)
    assert (tmp_path / "runs" / "broken-1" / "run.json").exists()


def test_the_key_of_a_price_may_hold_dots_and_be_given_on_the_command_line() -> None:
    price = 'budget.prices."gpt-4.1".usd_per_million_tokens_in'
    settings = load_settings(None, [f"{price}=0.4"])
    assert settings.budget.prices["gpt-4.1"].usd_per_million_tokens_in == 0.4
