"""An experiment that has been run once for all that look at it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.experiments import SMALL, run_here

from populace.experiments.results import Results


@pytest.fixture(scope="session")
def ran(tmp_path_factory) -> Results:
    out: Path = tmp_path_factory.mktemp("experiment") / "small"
    return run_here(SMALL, out)
