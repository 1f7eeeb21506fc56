"""Record a scenario with the embedded model for the tests: `python tests/recordings/record.py polarization`.

A recording is what `populace replay` needs of a run's folder, and the prompts: run.json, journal/, asks.parquet, and of
the manifest what does not tell of the machine. Record anew only when a trace is meant to change, and say why.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SIZES = {
    "anes": "--agents 8",
    "basic_income": "--agents 2 --ticks 1 --set society.mood_every=1 --set society.interview=0"
    " --set limits.abstained=0.5",
    "citizen": "--agents 20 --ticks 24",
    "clinic": "--set agents.doctor=1 --set agents.patient=1 --ticks 1 --set society.questions=3",
    "crowd": "--agents 3 --ticks 2 --set society.hears=mean --set society.session=3 --set limits.abstained=0.5",
    "debate": "--agents 4 --ticks 1 --set limits.abstained=0.5",
    "exchange": "--agents 6 --ticks 2",
    "games": "--agents 4 --ticks 2",
    "helpdesk": "--agents 2 --ticks 1 --set society.patience=4",
    "hurricane": "--agents 6 --ticks 5",
    "marketplace": "--set agents.customer=2 --set agents.business=3 --ticks 5",
    "newsfeed": "--agents 5 --ticks 2",
    "outrage": "--agents 6 --ticks 3 --set society.interview=2",
    "panel": "--set agents.respondent=2 --set agents.twin=2",
    "polarization": "--agents 8 --ticks 3",
    "smalltown": "--agents 3 --ticks 2",
    "ultimatum": "--agents 6 --ticks 2",
}
"""Few agents and ticks, so that a recording takes a minute or two."""
MACHINE = {"versions": {}, "wall_s": 0.0, "peak_rss_mb": 0.0}


def keep(run: Path, recording: Path) -> None:
    shutil.rmtree(recording, ignore_errors=True)
    recording.mkdir()
    shutil.copytree(run / "journal", recording / "journal")
    for name in ("run.json", "asks.parquet"):
        shutil.copy(run / name, recording / name)
    manifest = json.loads((run / "manifest.json").read_text())
    (recording / "manifest.json").write_text(json.dumps({**manifest, **MACHINE}, indent=2) + "\n")


def main(scenario: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "run"
        size = (*SIZES[scenario].split(), "--seed", "7")
        subprocess.run([sys.executable, "-m", "populace.cli", "run", scenario, *size, "--out", str(out)], check=True)
        keep(out, HERE / scenario)


if __name__ == "__main__":
    main(*sys.argv[1:])
