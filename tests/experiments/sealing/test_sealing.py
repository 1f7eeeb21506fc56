"""What can be sealed, and what is refused before an archive is written."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
from support.command import populace as command
from support.experiments import SMALL, changed, run_here
from support.sealed import KEY, members

from populace.core.errors import RunFailed, SettingsError
from populace.data.societies import Origin
from populace.experiments import Arm, Experiment
from populace.experiments.sealing import seal, verify
from populace.experiments.sealing.beside import modules_beside
from populace.store.lock import held


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """An experiment of three arms that fork from one another, played once."""
    out = tmp_path_factory.mktemp("done") / "out"
    run_here(SMALL, out, replicates=1, dry=False)
    return out


@pytest.fixture
def copy(done, tmp_path):
    shutil.copytree(done, tmp_path / "out")
    return tmp_path / "out"


def test_the_command_seals_prints_the_digest_and_overwrites_nothing(done, tmp_path):
    ran = command("experiment", "seal", str(done), "-o", "study.zip", "--author", "Ada", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    sealed = json.loads(members(tmp_path / "study.zip")["SEAL.json"])
    assert f"digest     {sealed['digest']}" in ran.stdout
    assert sealed["author"] == "Ada"
    again = command("experiment", "seal", str(done), "-o", "study.zip", cwd=tmp_path)
    assert again.returncode == 2
    assert "is there already" in again.stderr
    assert not list(tmp_path.glob("*.part"))


def test_a_study_whose_runs_are_to_come_or_at_work_is_not_sealed(copy, tmp_path):
    with held(copy), pytest.raises(SettingsError, match="is still at work"):
        seal(copy, tmp_path / "study.zip")
    (copy / "moved-000" / "manifest.json").unlink()
    with pytest.raises(SettingsError, match=r"1 of its runs are still to come \(moved-000\).*populace resume"):
        seal(copy, tmp_path / "study.zip")
    assert not (tmp_path / "study.zip").exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"share": 0.3', '"share": 0.4', "silenced-000/run.json: is not the run that the design declares: levers"),
        ('"seed": 0', '"seed": 5', "control-000/run.json: is not the run that the design declares: seed"),
        ("Are you moved?", "Are you not?", "control-000/run.json: holds other code than the experiment"),
    ],
)
def test_runs_that_are_not_those_of_the_design_are_not_sealed(copy, tmp_path, old, new, said):
    """What was registered cannot be put into the place of what was done."""
    path = copy / "experiment.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(SettingsError, match=said):
        seal(copy, tmp_path / "study.zip")


def test_keys_are_not_sealed_wherever_they_stand(study, copy, tmp_path, monkeypatch):
    """A canary in a variable, in a file of a key, among the settings; where it is only known, it does no harm."""
    monkeypatch.setenv("MY_SERVICE_TOKEN", KEY)
    seal(copy, tmp_path / "good.zip")
    assert not [name for name, held in members(tmp_path / "good.zip").items() if KEY.encode() in held]
    design = (copy / "experiment.json").read_text()
    canary = '"question": "Does', f'"question": "{KEY} Does'
    (copy / "experiment.json").write_text(design.replace(*canary))
    with pytest.raises(SettingsError, match=r"runs/experiment.json: holds the text of the variable MY_SERVICE_TOKEN"):
        seal(copy, tmp_path / "study.zip")
    (copy / "experiment.json").write_text(design.replace("OPENAI_API_KEY", KEY))
    with pytest.raises(SettingsError, match=r"settings.endpoint.api_key_env: looks like a key"):
        seal(copy, tmp_path / "study.zip")
    monkeypatch.delenv("MY_SERVICE_TOKEN")
    (tmp_path / "key").write_text(KEY)
    text = design.replace('"api_key_file": null', f'"api_key_file": "{tmp_path / "key"}"')
    (copy / "experiment.json").write_text(text.replace(*canary))
    with pytest.raises(SettingsError, match=r"runs/experiment.json: holds the text of the file .*key"):
        seal(copy, tmp_path / "study.zip")
    (copy / "experiment.json").write_text(text)
    seal(copy, tmp_path / "file.zip")
    assert str(tmp_path).encode() not in members(tmp_path / "file.zip")["runs/experiment.json"]


def test_no_file_of_the_authors_machine_is_written_to_elsewhere(copy, tmp_path):
    """Where a run was watched, its log and its traces stay its author's."""
    log = tmp_path / "log.jsonl"
    for path in (*copy.glob("*/run.json"), *copy.glob("*/manifest.json"), copy / "experiment.json"):
        text = path.read_text()
        assert '"log": {' in text
        assert text.count('"file": ""') == 2
        path.write_text(text.replace('"file": ""', f'"file": "{log}"'))
    seal(copy, tmp_path / "study.zip")
    assert not [name for name, held in members(tmp_path / "study.zip").items() if str(tmp_path).encode() in held]
    assert verify(tmp_path / "study.zip", trust=True).holds
    assert not log.exists()


def test_a_file_that_has_changed_since_the_runs_is_not_sealed(study, tmp_path, monkeypatch):
    """The author's folder, put back to where it was, with another prompt in it."""
    home = study.home.parent / "author"
    shutil.copytree(study.home, home)
    monkeypatch.syspath_prepend(str(home))
    try:
        (home / "prompt.txt").write_text("{attitude} {heard}?")
        with pytest.raises(SettingsError, match=r"prompt.txt: changed since control-000 began"):
            seal(study.folder, tmp_path / "study.zip")
    finally:
        shutil.rmtree(home)
        for name in ("leaning", "tilting"):
            sys.modules.pop(name, None)


def test_a_society_that_ships_is_sealed_and_verified(tmp_path):
    experiment = Experiment(
        "polarization",
        arms={"control": Arm(), "open": Arm(parameters={"openness": 0.9})},
        outcomes=["variance"], replicates=1, agents=6, ticks=2, model="scripted",
    )  # fmt: skip
    run_here(experiment, tmp_path / "out", dry=False)
    sealed = seal(tmp_path / "out", tmp_path / "study.zip")
    assert [one.origin for one in sealed.code] == ["populace.scenarios.polarization"]
    assert verify(tmp_path / "study.zip", trust=True).holds


def test_runs_that_failed_are_sealed_as_they_are(tmp_path):
    line = "        self.heard += len(ctx.inbox)\n"
    file = changed(tmp_path, (line, f"{line}        assert self.attitude < 8.5 or ctx.tick < 5\n"))
    with pytest.raises(RunFailed):
        run_here(file, tmp_path / "out", dry=False, replicates=1, settings={"limits.failed_turns": 0.0})
    sealed = seal(tmp_path / "out", tmp_path / "study.zip")
    status = {one.run: one.status for one in sealed.runs}
    assert status["moved-000"] == "failed"
    found = verify(tmp_path / "study.zip", trust=True)
    assert found.holds, found.text()
    assert {one.run: one.figures for one in found.runs}["moved-000"] == 0


def test_modules_beside_a_society_are_found_through_others_and_installed_ones_are_not(tmp_path):
    (tmp_path / "lies_one.py").write_text("import lies_two.inner\n")
    (tmp_path / "lies_two").mkdir()
    (tmp_path / "lies_two" / "__init__.py").write_text("")
    (tmp_path / "lies_two" / "inner.py").write_text("")
    (tmp_path / "json.py").write_text("")
    origin = Origin(str(tmp_path / "society.py"), "import json\nfrom lies_one import x\nimport nowhere\n")
    assert modules_beside(origin) == ["lies_one.py", "lies_two/__init__.py", "lies_two/inner.py"]
    with pytest.raises(SettingsError, match="is a module of a package"):
        modules_beside(Origin("somebody.society", "import json"))
