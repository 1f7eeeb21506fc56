"""The tables that a run leaves: their order, their bounds, and what stands on the disk when something goes wrong."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import duckdb
import msgpack
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from populace.core.errors import BusError, DiskFull, PopulaceError, SettingsError, StorageError
from populace.settings import Record
from populace.store.tables.files import Sheet
from populace.store.tables.tables import Tables, outcome_series, panel, read_table

FIELDS = {"attitude": float, "group": int, "voted": bool, "why": str}
KEY = bytes(range(16))


def _messages(tick: int, senders: int = 4, each: int = 3) -> dict[str, list]:
    rows = [(sender, nth) for sender in range(senders) for nth in range(each)]
    return {
        "tick_sent": [tick] * len(rows),
        "tick_read": [tick + 1 if nth else None for _, nth in rows],
        "sender": [sender for sender, _ in rows],
        "receiver": [(sender + 1) % senders for sender, _ in rows],
        "nth": [nth for _, nth in rows],
        "body": [msgpack.packb({"text": f"{sender}-{nth}"}) for sender, nth in rows],
        "fate": ["delivered" if nth else "expired" for _, nth in rows],
    }


def _asks(tick: int, agents: int = 3) -> dict[str, list]:
    many = range(agents)
    return {
        "tick": [tick for _ in many],
        "agent": list(many),
        "nth": [0 for _ in many],
        "purpose": ["revise" for _ in many],
        "model_role": ["" for _ in many],
        "settled": ["abstained" if agent == 0 else "answered" for agent in many],
        "reason": ["deadline" if agent == 0 else "" for agent in many],
        "detail": ["" for _ in many],
        "prompt": [(("system", "Be brief."), ("user", f"Hello «{agent}»")) for agent in many],
        "facts": ['{"name": "you"}' if agent == 1 else "" for agent in many],
        "answer": [None if agent == 0 else '{"attitude": 3}' for agent in many],
        "reasoning": ["it greets me" if agent == 1 else "" for agent in many],
        "cut": [agent == 2 for agent in many],
        "reading": ["extracted" if agent == 1 else "" for agent in many],
        "left_out": ["seed" if agent == 2 else "" for agent in many],
        "tokens_in": [247 for _ in many],
        "tokens_out": [11 for _ in many],
        "cost_usd": [0.001 for _ in many],
        "calls": [1 for _ in many],
        "latency_s": [0.5 for _ in many],
        "key": [KEY for _ in many],
        "for_type": ["" for _ in many],
        "stands_for": [-1 for _ in many],
    }


def _agents(tick: int, ids: list[int], attitude: list[float]) -> dict[str, object]:
    return {
        "tick": np.full(len(ids), tick),
        "agent": np.array(ids),
        "attitude": np.array(attitude),
        "group": [agent % 2 for agent in ids],
        "voted": np.array([agent > 0 for agent in ids]),
        "why": [f"because {tick}" for _ in ids],
    }


def _shuffled(columns: dict[str, list], rng: random.Random) -> dict[str, list]:
    order = list(range(len(next(iter(columns.values())))))
    rng.shuffle(order)
    return {name: [values[row] for row in order] for name, values in columns.items()}


def _write(out: Path, rng: random.Random | None = None, group_rows: int = 50_000) -> None:
    tables = Tables(out, FIELDS, Record(), group_rows)
    for tick in range(5):
        arrange = (lambda columns: columns) if rng is None else (lambda columns: _shuffled(columns, rng))
        tables.add("messages", arrange(_messages(tick)))
        tables.add("asks", arrange(_asks(tick)))
        tables.add("agents", arrange(_agents(tick, [0, 1, 2], [0.5, 1.5, 2.5])))
        tables.add("outcomes", {"tick": [tick], "name": ["variance"], "value": [float(tick)]})
    tables.close()


def test_every_column_comes_back_as_it_was_given(tmp_path: Path) -> None:
    _write(tmp_path)
    messages = read_table(tmp_path, "messages").to_pylist()
    assert len(messages) == 60
    assert messages[0] == {
        "tick_sent": 0,
        "tick_read": None,
        "sender": 0,
        "receiver": 1,
        "nth": 0,
        "body": '{"text":"0-0"}',
        "fate": "expired",
    }
    assert messages[1]["tick_read"] == 1
    asks = read_table(tmp_path, "asks").to_pylist()
    assert asks[0]["reason"] == "deadline"
    assert asks[0]["answer"] is None, "an abstention is null, never an empty answer"
    assert asks[1]["answer"] == '{"attitude": 3}'
    assert asks[1]["reason"] is None
    assert asks[1]["key"] == KEY.hex()
    assert json.loads(asks[1]["prompt"]) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello «1»"},
    ]
    agent = read_table(tmp_path, "agents").to_pylist()[1]
    assert agent == {"tick": 0, "agent": 1, "attitude": 1.5, "group": 1, "voted": True, "why": "because 0"}


def test_columns_say_their_units_and_types(tmp_path: Path) -> None:
    _write(tmp_path)
    schema = read_table(tmp_path, "asks").schema
    assert schema.field("latency_s").metadata[b"about"] == b"seconds of wall time"
    assert schema.field("cost_usd").metadata[b"about"] == b"US dollars"
    assert [str(read_table(tmp_path, "agents").schema.field(name).type) for name in FIELDS] == [
        "double",
        "int64",
        "bool",
        "string",
    ]
    assert pq.ParquetFile(tmp_path / "asks.parquet").metadata.metadata[b"populace.order"] == b"tick, agent, nth"


@pytest.mark.parametrize("name", ["messages", "asks", "agents", "outcomes", "failures"])
def test_a_tables_bytes_do_not_depend_on_the_order_of_arrival(tmp_path: Path, name: str) -> None:
    _write(tmp_path / "a")
    for seed in range(3):
        _write(tmp_path / "b", random.Random(seed))
        assert (tmp_path / "a" / f"{name}.parquet").read_bytes() == (tmp_path / "b" / f"{name}.parquet").read_bytes()


def test_without_the_sort_the_bytes_do_depend_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of the test above."""
    monkeypatch.setattr("populace.store.tables.files.Sheet._sorted", lambda _self, batch: batch)
    _write(tmp_path / "a")
    _write(tmp_path / "b", random.Random(1))
    assert (tmp_path / "a" / "messages.parquet").read_bytes() != (tmp_path / "b" / "messages.parquet").read_bytes()


def test_rows_reach_the_disk_in_groups_as_they_come(tmp_path: Path) -> None:
    tables = Tables(tmp_path, {}, Record(), group_rows=24)
    part = tmp_path / "parts" / "messages.parquet.part"
    for tick in range(10):
        tables.add("messages", _messages(tick))
    assert not (tmp_path / "messages.parquet").exists(), "a table has its name only when it is whole"
    assert part.exists()
    tables.close()
    assert not part.exists()
    file = pq.ParquetFile(tmp_path / "messages.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [24] * 5
    assert file.read().column("tick_sent").to_pylist() == [tick for tick in range(10) for _ in range(12)]


def _ties(count: int) -> dict[str, object]:
    tick, name = np.array(0, np.int32), np.array("network", object)
    ids = np.arange(count, dtype=np.int32)
    of = {"tick": np.broadcast_to(tick, count), "part": np.broadcast_to(name, count)}
    return {**of, "source": ids, "target": ids[::-1], "weight": np.ones(count)}


@pytest.mark.parametrize("agents", [np.arange(100), np.arange(100)[::-1], np.zeros(100, int)])
def test_a_large_batch_makes_the_table_that_it_made_as_one(
    tmp_path: Path, agents: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = {"tick": np.full(100, 3), "agent": agents, "attitude": np.arange(100.0)}

    def write(out: Path) -> None:
        tables = Tables(out, {"attitude": float}, Record(), group_rows=24)
        tables.add("agents", dict(batch))
        tables.add("ties", _ties(100))
        tables.close()

    write(tmp_path / "groups")
    monkeypatch.setattr(Sheet, "_is_in_order", lambda self, columns: False)
    write(tmp_path / "whole")
    for name in ("agents", "ties"):
        assert read_table(tmp_path / "groups", name).equals(read_table(tmp_path / "whole", name))
    assert read_table(tmp_path / "groups", "ties").column("part").to_pylist() == ["network"] * 100


def test_control_a_batch_out_of_order_is_not_taken_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sheet, "_is_in_order", lambda self, columns: True)
    tables = Tables(tmp_path, {"attitude": float}, Record(), group_rows=24)
    agents = np.arange(100)[::-1]
    tables.add("agents", {"tick": np.full(100, 3), "agent": agents, "attitude": np.arange(100.0)})
    tables.close()
    assert read_table(tmp_path, "agents").column("agent").to_pylist() != sorted(agents.tolist())


def test_long_rows_are_written_by_their_bytes(tmp_path: Path) -> None:
    tables = Tables(tmp_path, {}, Record())
    noise = random.Random(3).randbytes(2**20).hex()
    for tick in range(40):
        asks = _asks(tick, agents=1)
        asks["prompt"] = [noise]
        tables.add("asks", asks)
    tables.close()
    assert pq.ParquetFile(tmp_path / "asks.parquet").num_row_groups > 1


def test_an_interrupted_run_leaves_valid_tables_that_say_so(tmp_path: Path) -> None:
    tables = Tables(tmp_path, FIELDS, Record())
    tables.add("messages", _messages(0))
    paths = tables.close(complete=False)
    assert sorted(path.name for path in paths) == sorted(path.name for path in tmp_path.iterdir()), "no part counts"
    file = pq.ParquetFile(tmp_path / "messages.parquet")
    assert file.metadata.num_rows == 12
    assert file.metadata.metadata[b"populace.complete"] == b"false"
    assert read_table(tmp_path, "asks").num_rows == 0
    assert tables.close() == [], "a second close does nothing"


def test_a_finished_run_says_that_it_is_complete(tmp_path: Path) -> None:
    _write(tmp_path)
    assert pq.ParquetFile(tmp_path / "agents.parquet").metadata.metadata[b"populace.complete"] == b"true"


def test_tables_that_are_not_wanted_are_not_made(tmp_path: Path) -> None:
    tables = Tables(tmp_path, FIELDS, Record(agents="none", messages=False, asks=False, actions=False, rounds=False))
    tables.add("messages", _messages(0))
    tables.add("asks", _asks(0))
    assert tables.names == ("outcomes", "failures", "levers")
    tables.close()
    there = sorted(path.stem for path in tmp_path.iterdir())
    assert there == ["failures", "levers", "outcomes"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
@pytest.mark.parametrize("rows", [1, 60_000], ids=["at close", "during the run"])
def test_a_full_disk_is_a_clear_error_and_leaves_no_half_table(tmp_path: Path, rows: int) -> None:
    tables = Tables(tmp_path, {}, Record())
    (tmp_path / "parts" / "messages.parquet.part").symlink_to("/dev/full")
    noise = random.Random(5)
    messages = {
        "tick_sent": np.zeros(rows, dtype=np.int64),
        "tick_read": np.full(rows, -1),
        "sender": np.arange(rows),
        "receiver": np.arange(rows),
        "nth": np.zeros(rows, dtype=np.int64),
        "body": [msgpack.packb(noise.random()) for _ in range(rows)],
        "fate": ["expired"] * rows,
    }

    def run() -> None:
        tables.add("asks", _asks(0))
        tables.add("messages", messages)
        tables.close(complete=False)

    with pytest.raises(DiskFull, match=r"messages.parquet: cannot be written: No space left.*free some space"):
        run()
    with pytest.raises(PopulaceError, match="No space left") if rows > 1 else nullcontext():
        tables.close(complete=False)
    assert not (tmp_path / "messages.parquet").exists()
    assert not (tmp_path / "parts" / "messages.parquet.part").is_symlink()
    assert read_table(tmp_path, "asks").num_rows == 3, "the other tables are saved"


def test_a_killed_writer_leaves_no_table_under_its_final_name(tmp_path: Path) -> None:
    script = """
        import os, signal, sys
        from pathlib import Path
        from populace.store.tables.tables import Tables
        from populace.settings import Record
        tables = Tables(Path(sys.argv[1]), {}, Record(), group_rows=1)
        tables.add("outcomes", {"tick": [0], "name": ["variance"], "value": [1.0]})
        os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], check=False)
    assert ended.returncode == -9
    assert [path.name for path in tmp_path.rglob("*.parquet*")] == ["outcomes.parquet.part"]
    with pytest.raises(SettingsError, match="Tables there are: none"):
        read_table(tmp_path, "outcomes")
    _write(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".parquet"}, "the next run takes the place over"


def test_bad_batches_name_table_and_column(tmp_path: Path) -> None:
    tables = Tables(tmp_path, FIELDS, Record())
    with pytest.raises(ValueError, match="outcomes wants the columns"):
        tables.add("outcomes", {"tick": [0], "name": ["variance"]})
    with pytest.raises(ValueError, match=r"different lengths: \{'tick': 1, 'name': 2, 'value': 1\}"):
        tables.add("outcomes", {"tick": [0], "name": ["a", "b"], "value": [1.0]})
    with pytest.raises(PopulaceError, match=r"agents.parquet, column 'group': cannot be written as int64"):
        tables.add("agents", _agents(0, [0], [1.0]) | {"group": [2**70]})
    with pytest.raises(PopulaceError, match=r"outcomes.parquet, column 'value': 1 of 1 values are missing"):
        tables.add("outcomes", {"tick": [0], "name": ["variance"], "value": [None]})
    with pytest.raises(BusError, match="a message body of 1 bytes"):
        tables.add("messages", _messages(0, 1, 1) | {"body": [b"\xc1"]})
    tables.close()
    assert read_table(tmp_path, "outcomes").num_rows == 0


def test_fields_that_no_column_can_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\['friends'\]"):
        Tables(tmp_path, {"friends": list}, Record())
    with pytest.raises(ValueError, match=r"\['tick'\]"):
        Tables(tmp_path, {"tick": int}, Record())


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "parts").touch()
    with pytest.raises(StorageError, match=r"parts: cannot be written: File exists"):
        Tables(tmp_path, {}, Record())
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"--out .*/file: cannot be made a folder"):
        Tables(tmp_path / "file", {}, Record())


def _add_ticks(tables: Tables, ticks: Sequence[int]) -> None:
    for tick in ticks:
        tables.add("messages", _messages(tick))
        tables.add("asks", _asks(tick))
        tables.add("outcomes", {"tick": [tick], "name": ["n"], "value": [float(tick)]})


@settings(max_examples=25)
@given(data=st.data())
def test_a_table_does_not_tell_where_it_was_cut_nor_where_it_was_taken_up(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Cuts after some ticks; at some of them the writer is lost later, and another takes up there."""
    straight, cut = tmp_path_factory.mktemp("straight"), tmp_path_factory.mktemp("cut")
    tables = Tables(straight, {}, Record(), group_rows=30)
    _add_ticks(tables, range(8))
    tables.close()
    tables, tick, saved = Tables(cut, {}, Record(), group_rows=30), 0, (0, 0)
    losses = data.draw(st.integers(0, 3))
    while tick < 8:
        _add_ticks(tables, [tick])
        tick += 1
        if data.draw(st.booleans()):
            saved = (tables.mark(), tick)
            tables.cut()
        if losses and data.draw(st.booleans()):
            losses -= 1
            if data.draw(st.booleans()):
                tables.close(complete=False)
            else:
                tables.abandon()
            tables, tick = Tables(cut, {}, Record(), group_rows=30, parts=saved[0]), saved[1]
    tables.close()
    for name in ("messages", "asks", "outcomes", "failures"):
        assert read_table(cut, name).equals(read_table(straight, name)), name
        groups = [pq.ParquetFile(folder / f"{name}.parquet").num_row_groups for folder in (straight, cut)]
        assert groups[1] <= groups[0] + 1, "parts leave no crumbs"
    tables.forget()
    assert not (cut / "parts").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
@pytest.mark.parametrize("full", ["agents", "messages", "outcomes", None], ids=lambda name: f"no room for {name}")
def test_a_run_whose_tables_were_not_all_finished_can_be_taken_up(tmp_path: Path, full: str | None) -> None:
    """Whether the disk was full at the end or the process was killed between its tables and its manifest."""
    tables = Tables(tmp_path, {}, Record())
    _add_ticks(tables, [0, 1])
    saved = tables.mark()
    tables.cut()
    _add_ticks(tables, [2])
    if full is not None:
        (tmp_path / f"{full}.parquet.part").symlink_to("/dev/full")
    with pytest.raises(DiskFull, match=f"{full}.parquet") if full else nullcontext():
        tables.close()
    assert full is None or not (tmp_path / f"{full}.parquet").exists()
    assert read_table(tmp_path, "messages").num_rows == 36, "from its parts where the table is not there"
    again = Tables(tmp_path, {}, Record(), parts=saved)
    _add_ticks(again, [2])
    again.close()
    assert read_table(tmp_path, "messages").num_rows == 36
    assert read_table(tmp_path, "asks").num_rows == 9
    assert read_table(tmp_path, "outcomes").column("tick").to_pylist() == [0, 1, 2]


def test_what_was_cut_can_be_read_while_the_run_lasts_and_after_a_kill(tmp_path: Path) -> None:
    tables = Tables(tmp_path, {}, Record())
    _add_ticks(tables, [0, 1])
    assert tables.mark() == 1
    assert tables.mark() == 2, "the number counts marks, whether there was anything to write or not"
    tables.cut()
    _add_ticks(tables, [2])
    assert read_table(tmp_path, "outcomes").column("tick").to_pylist() == [0, 1]
    tables.abandon()
    again = Tables(tmp_path, {}, Record(), parts=2)
    _add_ticks(again, [2])
    again.close()
    assert read_table(tmp_path, "outcomes").column("tick").to_pylist() == [0, 1, 2]


def test_a_panel_is_dense_and_filled_forward(tmp_path: Path) -> None:
    tables = Tables(tmp_path, FIELDS, Record())
    tables.add("agents", _agents(0, [2, 0, 1], [2.0, 0.0, 1.0]))
    tables.add("agents", _agents(2, [1], [9.0]))
    for tick in range(5):
        tables.add("outcomes", {"tick": [tick, tick], "name": ["variance", "mean"], "value": [float(tick), 1.0]})
    tables.close()
    expected = [[0, 1, 2], [0, 1, 2], [0, 9, 2], [0, 9, 2], [0, 9, 2]]
    np.testing.assert_array_equal(panel(tmp_path, "attitude"), np.array(expected, dtype=float))
    assert panel(tmp_path, "group").dtype == np.int64
    assert panel(tmp_path, "voted").dtype == np.bool_
    assert panel(tmp_path, "why")[3].tolist() == ["because 0", "because 2", "because 0"]
    assert outcome_series(tmp_path) == {"variance": [0.0, 1.0, 2.0, 3.0, 4.0], "mean": [1.0] * 5}
    np.testing.assert_array_equal(panel(str(tmp_path), "attitude"), panel(tmp_path, "attitude"))
    assert read_table(str(tmp_path), "agents") == read_table(tmp_path, "agents")
    assert outcome_series(str(tmp_path)) == outcome_series(tmp_path)
    with pytest.raises(SettingsError, match=r"no public field 'mood'\. Fields there are: attitude, group, voted, why"):
        panel(tmp_path, "mood")


def test_an_agent_that_joins_late_has_no_value_before(tmp_path: Path) -> None:
    tables = Tables(tmp_path, FIELDS, Record())
    tables.add("agents", _agents(0, [0], [0.5]))
    tables.add("agents", _agents(1, [1], [1.5]))
    tables.close()
    np.testing.assert_array_equal(panel(tmp_path, "attitude"), [[0.5, np.nan], [0.5, 1.5]])
    np.testing.assert_array_equal(panel(tmp_path, "group"), [[0, np.nan], [0, 1]])
    assert panel(tmp_path, "why").tolist() == [["because 0", None], ["because 0", "because 1"]]


@given(st.lists(st.lists(st.none() | st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=6))
def test_a_panel_is_what_a_plain_loop_gives(tmp_path_factory: pytest.TempPathFactory, changes: list) -> None:
    out = tmp_path_factory.mktemp("panel")
    changes[0] = [value or 0 for value in changes[0]]
    tables = Tables(out, {"x": int}, Record())
    now, expected = [0, 0, 0], []
    for tick, row in enumerate(changes):
        ids = [agent for agent, value in enumerate(row) if value is not None]
        tables.add("agents", {"tick": [tick] * len(ids), "agent": ids, "x": [row[agent] for agent in ids]})
        tables.add("outcomes", {"tick": [tick], "name": ["n"], "value": [0.0]})
        now = [old if new is None else new for old, new in zip(now, row, strict=True)]
        expected.append(now)
    tables.close()
    assert panel(out, "x").tolist() == expected


def test_other_tools_read_the_tables(tmp_path: Path) -> None:
    _write(tmp_path)
    found = duckdb.sql(
        f"select fate, count(*) from '{tmp_path}/messages.parquet' group by fate order by fate"
    ).fetchall()
    assert found == [("delivered", 40), ("expired", 20)]


def test_a_part_of_an_older_populace_lacks_columns_and_is_read_with_nulls(tmp_path: Path) -> None:
    tables = Tables(tmp_path, FIELDS, Record())
    for tick in range(2):
        tables.add("asks", _asks(tick))
        tables.mark()
    tables.cut()
    (old, _) = sorted((tmp_path / "parts").glob("asks-*.parquet"))
    pq.write_table(pq.read_table(old).drop_columns(["reasoning", "cut", "reading"]), old)
    assert read_table(tmp_path, "asks").column("cut").to_pylist() == [None] * 3 + [False, False, True]
    tables.close()
    assert read_table(tmp_path, "asks").column("cut").to_pylist() == [None] * 3 + [False, False, True]
    assert read_table(tmp_path, "asks").column("answer").null_count == 2
