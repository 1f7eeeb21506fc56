"""The README's society, as a stranger would run it: saved in an empty folder, from the README's text alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from support.command import populace
from typer.testing import CliRunner

from populace.cli.app import app
from populace.data.societies import find_society, load_society, shipped
from populace.store.manifest import read_manifest

README = Path(__file__).parents[2] / "README.md"


def blocks() -> list[str]:
    """The README's Python: the society, and what runs it from a script."""
    return re.findall(r"```python[^\n]*\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_readmes_script_runs_and_draws(tmp_path):
    society, script = blocks()
    main = "if __name__ == '__main__':\n" + script.replace("import populace\n", "import populace\n\n")
    ending = "\nax.figure.savefig('arms.png')\nprint(populace.diff(control, louder).parted_at, len(ax.lines))\n"
    text = society + "\n\n" + (main + ending).replace("\n", "\n    ")
    (tmp_path / "study.py").write_text(text, encoding="utf-8")
    environment = {**os.environ, "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "study.py"], cwd=tmp_path, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2 2\n"
    assert (tmp_path / "arms.png").stat().st_size > 5_000


def test_the_readmes_society_runs(tmp_path):
    code, _ = blocks()
    (tmp_path / "my_society.py").write_text(code, encoding="utf-8")
    assignments = ("--set", "society.topic=a tax on meat", "--set", "agents=50")
    done = populace("run", "my_society.py", "--model", "scripted", *assignments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(tmp_path / "runs" / "my_society-1")
    assert manifest["agents"] == 50
    assert manifest["parameters"]["topic"] == "a tax on meat"
    assert manifest["asks"]["answered"] == 150
    assert manifest["turns_failed"] == 0


def test_new_writes_the_readmes_society_and_never_over_another_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["new", "my_society.py"])
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "  populace run my_society.py --model scripted")
    assert Path("my_society.py").read_text(encoding="utf-8") == blocks()[0]
    assert CliRunner().invoke(app, ["new", 'a "fair".py']).exit_code == 0
    assert load_society(find_society('a "fair".py')).name == 'a "fair"'
    Path("my_society.py").write_text("mine")
    refused = {"my_society.py": "is there already", "mine.txt": "Call it mine.py", "no/mine.py": "folder exists"}
    for name, told in refused.items():
        done = CliRunner().invoke(app, ["new", name])
        assert told in str(done.exception)
    assert Path("my_society.py").read_text() == "mine"


def test_every_scenario_that_ships_can_be_loaded():
    assert "polarization" in shipped()
    for name in shipped():
        assert load_society(find_society(name)).name == name
