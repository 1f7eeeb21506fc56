"""Files that a society's code reads beside it: a run knows them, and is not resumed by others in silence."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pandas as pd
import pytest
from support.villages import FILE

import populace
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import Interrupted, ScenarioError
from populace.data.societies import find_society
from populace.settings import load_settings

PROMPT = "You believe it by {}. Do you?"
READING = FILE.replace(
    "import populace\n",
    "import populace\nfrom pathlib import Path\nPROMPT = (Path(__file__).parent / 'texts/prompt.txt').read_text()\n",
).replace('f"You believe it by {self.belief}. Do you?"', "PROMPT.format(self.belief)")
SCRIPTED = {"model": "scripted", "quiet": True, "seed": 3}


@pytest.fixture
def study(tmp_path, monkeypatch) -> Path:
    """A society whose prompt stands in a file of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "prompt.txt").write_text(PROMPT)
    (tmp_path / "study.py").write_text(READING)
    return tmp_path / "study.py"


def test_they_are_named_with_their_digests_in_run_json(study):
    populace.run(study, out="whole", **SCRIPTED)
    files = json.loads(Path("whole/run.json").read_text())["files"]
    assert list(files) == ["texts/prompt.txt"]
    assert len(files["texts/prompt.txt"]) == 32


def test_a_table_that_a_library_reads_from_an_open_file_is_known_too(study):
    """By a path it would be opened past Python: that is a limit, which the guide tells of."""
    pd.DataFrame({"age": [30]}).to_parquet("people.parquet")
    pd.DataFrame({"source": [0], "target": [1]}).to_parquet("ties.parquet")
    reads = (
        "import pandas as pd\nHERE = Path(__file__).parent\n"
        'with open(HERE / "people.parquet", "rb") as people:\n    AGES = pd.read_parquet(people)\n'
        'TIES = populace.read_edge_list(HERE / "ties.parquet")\n'
    )
    study.write_text(READING.replace("PROMPT = ", f"{reads}PROMPT = ", 1))
    populace.run(study, out="whole", **SCRIPTED)
    files = json.loads(Path("whole/run.json").read_text())["files"]
    assert list(files) == ["people.parquet", "texts/prompt.txt", "ties.parquet"]


def interrupted(study: Path) -> populace.Run:
    """A run that was stopped after its first ticks."""
    settings = load_settings(model__kind="scripted", seed=3)
    coordinator = Coordinator(find_society(str(study)), settings, LocalTransport(), Path("early"))
    report = coordinator._audience.tick

    def until(tick):
        report(tick)
        if tick.tick == 3:
            coordinator.stop()

    coordinator._audience.tick = until
    with pytest.raises(Interrupted):
        asyncio.run(coordinator.run())
    return populace.load("early")


def test_a_run_is_not_resumed_where_one_has_changed_or_is_gone(study):
    whole = populace.run(study, out="whole", **SCRIPTED)
    run = interrupted(study)
    prompt = study.parent / "texts" / "prompt.txt"
    prompt.write_text("Otherwise: {}?")
    with pytest.raises(ScenarioError, match=r"texts/prompt.txt: changed since this run began.*--code new"):
        populace.resume(run, quiet=True)
    new = populace.resume(run, new_code=True, quiet=True, out="new")
    assert new.status == "complete"
    assert new.manifest["trace_hash"] != whole.manifest["trace_hash"]
    prompt.unlink()
    with pytest.raises(ScenarioError, match=r"texts/prompt.txt: changed since this run began"):
        populace.resume(run, quiet=True)
    prompt.write_text(PROMPT)
    assert populace.resume(run, quiet=True).manifest["trace_hash"] == whole.manifest["trace_hash"]


def test_a_replay_says_that_one_has_changed(study):
    populace.run(study, out="whole", **SCRIPTED)
    (study.parent / "texts" / "prompt.txt").write_text(PROMPT + " ")
    replayed = populace.replay("whole", quiet=True)
    assert replayed.diverged is not None
    assert "prompt.txt: changed since the run began, and is read as it is now." in str(replayed)
