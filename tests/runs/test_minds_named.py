"""What a report, a seal and the page say of what answered a run in which a type goes by rules."""

from __future__ import annotations

from pathlib import Path

import pytest

import populace
from populace.experiments.design import Task
from populace.experiments.report.minds import claims_of, minds_of
from populace.experiments.sealing.packing import _sealed_run
from populace.monitoring.minds import mind_of
from populace.page.history import History
from populace.page.overview import overview
from populace.store.manifest import read_manifest

MIXED = str(Path(__file__).parent.parent / "support" / "mixed.py")
SCRIPT = "the society's script (no model)"
RULED = f"the society's rules for 'officer'; else {SCRIPT}"


@pytest.mark.parametrize(
    ("minds", "said"),
    [
        ({}, RULED),
        ({"minds.officer": "model"}, SCRIPT),
        (
            {"minds.officer": "model", "minds.citizen.vote": "rules"},
            f"the society's rules for 'vote' of 'citizen'; else {SCRIPT}",
        ),
    ],
)
def test_all_minds_at_work_are_named(tmp_path, minds, said):
    run = populace.run(MIXED, out=tmp_path / "run", model="scripted", ticks=1, settings=minds, quiet=True)
    manifest = read_manifest(run.folder)
    assert mind_of(manifest) == said
    assert minds_of({"a": [manifest]}) == said
    task = Task("run", "a", 0, 0, "")
    assert _sealed_run(tmp_path, task).model == said
    assert overview(run.folder, "run", History(run.folder)).model == said
    assert any("theory in those rules" in one for one in claims_of({"a": [manifest]})) == (said != SCRIPT)
