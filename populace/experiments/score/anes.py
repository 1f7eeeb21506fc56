"""`anes`: respondents of the American National Election Study 1996 answered by a model, scored against themselves.

The answers are an ordinary run of the society `anes`, so they have a journal, a replay and a cost; what is scored are
its public fields. A shell: it reads a run's folder.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np

from populace.core.errors import SettingsError
from populace.experiments.inference.arrays import Floats
from populace.experiments.score.baselines import marginal, regression
from populace.experiments.score.card import ScoreCard, score
from populace.runs.result import load
from populace.store.folder import read_run_file
from populace.store.manifest import read_manifest

SOCIETY: Final = "anes"
ITEMS: Final = ("vote", "selfLR", "ClinLR", "DoleLR")
TOLD: Final = ("popul", "TVnews", "PID", "age", "educ", "income")
OPTIONS: Final = {"vote": np.array([0.0, 1.0]), **dict.fromkeys(ITEMS[1:], np.arange(1.0, 8.0))}
LEAST: Final = 20
"""Respondents below which nothing is scored."""
SHARE_ASKED: Final = 0.4
"""The share of respondents who are taken for a human sample where the worth of the others' simulations is told."""


def study() -> dict[str, Floats]:
    """The table of the study, a column a variable, as it ships beside the society."""
    import pyarrow.parquet as pq

    place = files("populace.scenarios") / "data" / "anes96.parquet"
    with place.open("rb") as file:
        columns = pq.read_table(file).to_pydict()
    return {name: np.asarray(column, dtype=np.float64) for name, column in columns.items()}


def baselines(table: dict[str, Floats], *, party: bool = True) -> dict[str, dict[str, Floats]]:
    """Answers of all respondents by the marginals and by a regression on what an agent is told, ten folds each.

    Population of the place goes in as its logarithm, and party also by how strong it is.
    """
    columns = [np.log(table["popul"] + 0.1) if name == "popul" else table[name] for name in TOLD if name != "PID"]
    if party:
        columns += [table["PID"], np.abs(table["PID"] - 3.0)]
    return {
        "marginals": {item: marginal(table[item], OPTIONS[item]) for item in ITEMS},
        "regression": {item: regression(table[item], np.column_stack(columns), OPTIONS[item]) for item in ITEMS},
    }


def groups(table: dict[str, Floats]) -> dict[str, Any]:
    """Labels of respondents by party, schooling and age."""
    party = np.select([table["PID"] < 3, table["PID"] > 3], ["Democrat", "Republican"], "independent")
    school = np.select([table["educ"] <= 3, table["educ"] >= 5], ["school", "degree"], "some college")
    age = np.select([table["age"] < 40, table["age"] >= 60], ["under 40", "60 and over"], "40 to 59")
    return {"party": party, "schooling": school, "age": age}


def contrasts(table: dict[str, Floats]) -> dict[str, tuple[Any, Any]]:
    """Pairs of groups whose differences in all items are the effects."""
    return {
        "Republicans - Democrats": (table["PID"] > 3, table["PID"] < 3),
        "degree - none": (table["educ"] >= 5, table["educ"] < 5),
        "60 and over - under 40": (table["age"] >= 60, table["age"] < 40),
        "over $50,000 - under": (table["income"] >= 20, table["income"] < 20),
        "news daily - not": (table["TVnews"] >= 7, table["TVnews"] < 7),
    }


def score_anes(run: str | Path, seed: int = 0) -> ScoreCard:
    """Score a finished run of the society `anes`: its folder or address.

    Raises SettingsError for a run of another society, one that has not ended, or of fewer than 20 respondents.
    """
    held = load(run)
    manifest = read_manifest(held.folder)
    if manifest["scenario"] != SOCIETY or manifest["status"] != "complete":
        raise SettingsError(
            f"{run}: a {manifest['status']} run of {manifest['scenario']!r}; what is scored is a complete run of "
            f"{SOCIETY!r}. Go on with it first: populace resume {run}"
        )
    who = held.panel("respondent").iloc[-1].to_numpy().astype(np.int64)
    if len(who) < LEAST:
        raise SettingsError(f"{run}: {len(who)} respondents; {LEAST} or more are needed to say anything")
    table = study()
    given = {item: held.panel(item).iloc[-1].to_numpy().astype(np.float64) for item in ITEMS}
    party = bool(read_run_file(held.folder).settings["society"].get("party", True))
    people = {name: column[who] for name, column in table.items()}
    return score(
        {item: people[item] for item in ITEMS},
        {item: np.where(answer < 0, np.nan, answer) for item, answer in given.items()},
        {
            name: {item: column[who] for item, column in of.items()}
            for name, of in baselines(table, party=party).items()
        },
        groups={name: labels[who] for name, labels in groups(table).items()},
        stereotype="party",
        contrasts={name: (first[who], second[who]) for name, (first, second) in contrasts(table).items()},
        asked=round(SHARE_ASKED * len(who)),
        seed=seed,
    )
