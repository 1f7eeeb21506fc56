"""Real data that scenarios draw their people from."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pyarrow.parquet as pq

from populace import Population, Setup
from populace.env import BayesNet

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
"""A parameter that is a share, or a chance."""
Count = Annotated[int, msgspec.Meta(ge=1)]
"""A parameter that counts something of which there is one at least."""


def anes96() -> dict[str, list[float]]:
    """The 944 respondents of the American National Election Study 1996, a column a variable.

    Public domain; `data/anes96.md` says where it is from.
    """
    table: dict[str, list[float]] = pq.read_table(Path(__file__).parent / "data" / "anes96.parquet").to_pydict()
    return table


def respondents(setup: Setup, profile: str | None = None) -> Population:
    """As many respondents as there are agents, drawn with replacement, each equally likely; all columns are extra.

    With `profile`, a template, they have a column `profile`: each as text, by `in_words`.
    """
    table = anes96()
    people = Population.sample(table, setup.agents, setup.draw("respondents"), extra=table)
    return people if profile is None else people.adding(profile=lambda row: in_words(profile, row))


def in_words(template: str, row: Mapping[str, Any]) -> str:
    """A respondent as text: the template's {age}, {selfLR} and so on by the row, {school} and {party} in words."""
    words = prompts("anes96")
    school, party = words["schools"][int(row["educ"]) - 1], words["parties"][int(row["PID"])]
    return template.format(**{**row, "school": school, "party": party})


@cache
def prompts(scenario: str) -> dict[str, Any]:
    """The texts of a scenario that ships with populace, from `prompts/<scenario>.toml`."""
    path = Path(__file__).parent / "prompts" / f"{scenario}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def network(name: str) -> BayesNet:
    """A Bayesian network that ships: 'asia' (8 variables) or 'hepar2' (70); `data/networks.md` says where from."""
    text = (Path(__file__).parent / "data" / f"{name}.json").read_text(encoding="utf-8")
    return BayesNet.from_json(json.loads(text))
