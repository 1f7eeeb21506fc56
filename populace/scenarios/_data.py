"""Real data that scenarios draw their people from."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from typing import Any

from populace.core.errors import ScenarioError


def anes96() -> dict[str, list[float]]:
    """The 944 respondents of the American National Election Study 1996, a column a variable.

    Public domain; the file ships inside statsmodels, whose `statsmodels.datasets.anes96` describes the variables.
    Raises ScenarioError when statsmodels is not there.
    """
    spec = importlib.util.find_spec("statsmodels")
    if spec is None or not spec.submodule_search_locations:
        raise ScenarioError("the data of the election study are in statsmodels: pip install statsmodels")
    path = Path(spec.submodule_search_locations[0]) / "datasets" / "anes96" / "anes96.csv"
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    names = [name.strip("'\"") for name in header.split()]
    rows = [[float(value) for value in line.split()] for line in lines if line.strip()]
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def prompts(scenario: str) -> dict[str, Any]:
    """The texts of a scenario that ships with populace, from `prompts/<scenario>.toml`."""
    path = Path(__file__).parent / "prompts" / f"{scenario}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))
