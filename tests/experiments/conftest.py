"""An experiment that has been run once for all that look at it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.experiments import HOSTILE, SMALL, changed, run_here

from populace.experiments.results import Results


@pytest.fixture(scope="session")
def ran(tmp_path_factory) -> Results:
    out: Path = tmp_path_factory.mktemp("experiment") / "small"
    return run_here(SMALL, out)


@pytest.fixture(scope="session")
def told(tmp_path_factory) -> Results:
    """Two arms, six replicates: names that are markup, a rule that abstains for those whom the arm moved most."""
    folder: Path = tmp_path_factory.mktemp("told")
    published = {"mean": {"control": 0.5, HOSTILE: 0.2, "source": "<b>"}}
    file = changed(
        folder,
        ("import Agent, Choice", "import Abstained, Agent, Choice"),
        ("    gap = abs(", "    if facts['attitude'] > 8.5:\n        return Abstained('refusal')\n    gap = abs("),
        ('"silenced": Arm(levers=[{"at": 3, "block": {"sender": {"share": 0.3}}}]),', ""),
        ('"moved": Arm(', f"{HOSTILE!r}: Arm(about='<img src=x onerror=alert(1)>', "),
        ('"open": Arm(parameters={"openness": 0.9}),', ""),
        ('direction={"silenced": "up"}', f"direction={{{HOSTILE!r}: 'down'}}"),
        ("Does silencing a third keep opinions apart?", "</style><script>alert(2)</script>Is it?"),
        ("    replicates=3,", f"    replicates=6, published={published!r},"),
    )
    return run_here(file, folder / "out", dry=False)
