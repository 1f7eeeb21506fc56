"""Edge lists from files: what is read, and errors that name file and line."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from support.env_support import Setup, opened

from populace import read_edge_list
from populace.core.errors import ScenarioError
from populace.env import Network


def ties(path: Path, agents: int = 4) -> list[tuple[int, int, float]]:
    out = opened(agents, Network.edges(Setup(agents), *read_edge_list(path), where=str(path))).network.out
    return list(zip(out.sources().tolist(), out.targets.tolist(), out.weights.tolist(), strict=True))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", "source,target\n2,0\n0,3\n", [(0, 3, 1.0), (2, 0, 1.0)]),
        ("a.CSV", "\ufeffweight, target ,source\r\n0.5,1,0\r\n\r\n-2,0,1\r\n", [(0, 1, 0.5), (1, 0, -2.0)]),
        ("a.tsv", "source\ttarget\tweight\n0\t1\t1e-3\n", [(0, 1, 0.001)]),
        ("a.csv", "source,target\n", []),
    ],
)
def test_text(tmp_path: Path, name: str, text: str, expected: list[tuple[int, int, float]]):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert ties(tmp_path / name) == expected


@pytest.mark.parametrize("weight", [[0.25, 4.0], [1, 2], None])
def test_parquet(tmp_path: Path, weight):
    columns = {"source": pa.array([0, 3], pa.int32()), "target": pa.array([1, 2], pa.uint16())}
    if weight is not None:
        columns["weight"] = pa.array(weight)
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    first, second = weight or (1.0, 1.0)
    assert ties(tmp_path / "a.parquet") == [(0, 1, first), (3, 2, second)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1: the columns are \[\]"),
        ("0,1\n", r"line 1: the columns are \['0', '1'\], and must be source, target"),
        ("source,target,wieght\n0,1,2\n", "line 1: the columns are"),
        ("source,target,source\n0,1,2\n", "line 1: the columns are"),
        ("source,target\n0,1\n0\n", "line 3: 1 values for 2 columns"),
        ("source,target\n0,1\n0,x\n", "line 3: target is an agent's id, an integer from 0 up, not 'x'"),
        ("source,target\n-1,1\n", "line 2: source is an agent's id"),
        ("source,target\n1.0,1\n", "line 2: source is an agent's id"),
        ("source,target\n0,4294967296\n", "line 2: target is an agent's id"),
        ("source,target\n\u0661,0\n", "line 2: source is an agent's id"),
        ("source,target,weight\n0,1,nan\n", "line 2: weight is a finite number, not 'nan'"),
        ("source,target,weight\n0,1,\n", "line 2: weight is a finite number, not ''"),
        ('source,target\n"0"x,1\n', "line 2: "),
        ("source,target\n0,1\n0,1\n", "from agent 0 to agent 1 is there more than once"),
        ("source,target\n0,4\n", "names agent 4, but ids go from 0 to 3"),
    ],
)
def test_text_that_cannot_be_read(tmp_path: Path, text: str, message: str):
    path = tmp_path / "edges.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError, match=f"edges.csv.*{message}"):
        ties(path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"source": [0], "to": [1]}, r"the columns are \['source', 'to'\]"),
        ({"source": [0.0], "target": [1]}, "'source' is double with 0 missing values"),
        ({"source": [0, None], "target": [1, 2]}, "'source' is int64 with 1 missing values"),
        ({"source": [0], "target": [1], "weight": ["1"]}, "'weight' is (large_)?string"),
        ({"source": [0, 1], "target": [1, -2]}, "row 1: target is an agent's id, an integer from 0 up, not -2"),
    ],
)
def test_parquet_that_cannot_be_read(tmp_path: Path, columns, message: str):
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "edges.pq")
    with pytest.raises(ScenarioError, match=f"edges.pq.*{message}"):
        ties(tmp_path / "edges.pq")


def test_files_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(ScenarioError, match=r"none.csv: cannot be read \(No such file"):
        ties(tmp_path / "none.csv")
    with pytest.raises(ScenarioError, match=r"is a .csv, .tsv or .parquet file, not '.txt'"):
        ties(tmp_path / "edges.txt")
    for name, content, message in (
        ("a.csv", b"source,target\n\xff,1\n", "is not UTF-8 text"),
        ("a.parquet", b"not parquet", "cannot be read as Parquet"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ScenarioError, match=message):
            ties(tmp_path / name)
