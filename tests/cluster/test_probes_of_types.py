"""Probes of societies with types, births, exits and agents in columns, on shards and on Ray; with a control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import populace
from populace.kernel import peeking
from populace.probes import Instrument, Item

SUPPORT = Path(__file__).parent.parent / "support"
BIRTHS, TRADERS, RESPONDENTS = (str(SUPPORT / name) for name in ("births.py", "traders.py", "respondents.py"))
HOW = Instrument("how", "How", "tests", "tests", [Item("much", "How much?", 0, 10**6)])
SCRIPTED = {"model": "scripted", "quiet": True, "seed": 7}


def with_rule(folder: Path, file: str, field: str) -> str:
    """The society of a file, whose rule for surveys says a field of the agent."""
    text = Path(file).read_text()
    rules = (
        f'from dataclasses import replace as _replace\n\n\ndef _says(facts, draw):\n    return facts["self"]["{field}"]'
    )
    path = folder / Path(file).name
    names = [line.partition(" = ")[0] for line in text.splitlines() if " = Society(" in line]
    made = "".join(f'{name} = _replace({name}, rules={{"survey": _says}})\n' for name in names[-1:])
    path.write_text(f"{text}\n{rules}\n\n{made}")
    return str(path)


def rows(survey: Any) -> list[dict[str, Any]]:
    return survey.table("arrow").to_pylist()


def test_who_is_born_and_who_leaves_is_asked_while_they_live(tmp_path):
    file = with_rule(tmp_path, BIRTHS, "sold")
    bare = populace.run(file, out=tmp_path / "bare", ticks=6, **SCRIPTED)
    survey = populace.survey(bare, HOW, [2, 3, 4, 6], model="rules", quiet=True)
    table = bare.table("agents")
    started = len(table[table.tick == table.tick.min()])
    for wave, tick in enumerate(survey.waves):
        asked = survey.agents(wave)
        # Before a tick the table has who lives then; those who are born in that very tick are asked from the next on.
        panel = bare.panel("sold").droplevel("type", axis=1)
        lives = panel.loc[tick].dropna().index.to_numpy()
        newborn = panel.columns[panel.loc[: tick - 1].isna().all() & panel.loc[tick].notna()].to_numpy()
        assert asked.tolist() == sorted(set(lives) - set(newborn)), tick
        assert survey.answers(wave)[:, 0].tolist() == panel.loc[tick, asked].tolist()
    everybody = [set(survey.agents(wave).tolist()) for wave in range(4)]
    assert max(map(max, everybody)) >= started, "some who were born were asked"
    assert not everybody[0] <= everybody[3], "some who left were not asked any more"


def test_agents_in_columns_are_asked_like_others(tmp_path):
    file = with_rule(tmp_path, TRADERS, "wealth")
    run = populace.run(file, out=tmp_path / "run", ticks=4, **SCRIPTED)
    survey = populace.survey(run, HOW, [0, 3], type="trader", sample=0.5, model="rules", quiet=True)
    panel = run.panel("wealth", type="trader")
    for wave, tick in enumerate(survey.waves):
        agents = survey.agents(wave)
        assert survey.answers(wave)[:, 0].tolist() == panel.loc[tick, agents].tolist()
    assert survey.answers(0).tolist() != survey.answers(1).tolist()
    with pytest.raises(populace.core.errors.ScenarioError, match="'wealth'"):
        populace.survey(run, HOW, 3, type="teller", name="none", model="rules", quiet=True)


@pytest.mark.parametrize("file", [BIRTHS, TRADERS])
@pytest.mark.parametrize("shards", [1, 3])
def test_a_survey_during_the_run_is_one_on_any_number_of_shards_and_leaves_no_trace(tmp_path, file, shards):
    settings = {"surveys": [{"instrument": "trust", "at": [0, 1, 3, 5], "sample": 0.4, "shuffle": True}]}
    bare = populace.run(file, out=tmp_path / "bare", ticks=5, **SCRIPTED)
    asked = populace.run(file, out=tmp_path / "asked", ticks=5, shards=shards, settings=settings, **SCRIPTED)
    for what in ("trace_hashes", "world_hashes"):
        assert asked.manifest[what] == bare.manifest[what]
    after = populace.survey(bare, "trust", [0, 1, 3, 5], sample=0.4, shuffle=True, quiet=True)
    assert rows(asked.survey("trust")) == rows(after)
    assert after.table().abstained.isna().all()


def test_control_without_the_columns_their_agents_are_not_found(tmp_path, monkeypatch):
    run = populace.run(TRADERS, out=tmp_path / "run", ticks=3, **SCRIPTED)
    whole = populace.survey(run, "trust", 2, quiet=True).agents()
    monkeypatch.setattr(peeking.Shard, "columnar_row", lambda *_: None)
    assert len(populace.survey(run, "trust", 2, name="less", quiet=True).agents()) < len(whole)


@pytest.mark.ray
def test_on_ray_a_survey_is_the_same(tmp_path, ray_cluster):
    settings = {"surveys": [{"instrument": "trust", "at": [0, 2, 3], "sample": 0.4, "shuffle": True}]}
    runs = [
        populace.run(file, out=tmp_path / f"{transport}{number}", ticks=3, shards=2, transport=transport,
                     settings=settings, **SCRIPTED)
        for number, file in enumerate((TRADERS, RESPONDENTS))
        for transport in ("local", "ray")
    ]  # fmt: skip
    for local, on_ray in (runs[:2], runs[2:]):
        assert local.manifest["trace_hashes"] == on_ray.manifest["trace_hashes"]
        assert rows(local.survey("trust")) == rows(on_ray.survey("trust"))
        assert np.array_equal(local.survey("trust").answers(), on_ray.survey("trust").answers())
    assert ray_cluster.is_initialized()
