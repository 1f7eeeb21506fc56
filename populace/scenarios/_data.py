"""Real data that scenarios draw their people from."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from populace.env import BayesNet


def anes96() -> dict[str, list[float]]:
    """The 944 respondents of the American National Election Study 1996, a column a variable.

    Public domain; `data/anes96.md` says where it is from.
    """
    table: dict[str, list[float]] = pq.read_table(Path(__file__).parent / "data" / "anes96.parquet").to_pydict()
    return table


def prompts(scenario: str) -> dict[str, Any]:
    """The texts of a scenario that ships with populace, from `prompts/<scenario>.toml`."""
    path = Path(__file__).parent / "prompts" / f"{scenario}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def network(name: str) -> BayesNet:
    """A Bayesian network that ships: 'asia' (8 variables) or 'hepar2' (70); `data/networks.md` says where from."""
    text = (Path(__file__).parent / "data" / f"{name}.json").read_text(encoding="utf-8")
    return BayesNet.from_json(json.loads(text))
