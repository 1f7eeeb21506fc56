"""How a comparison is printed, of runs of other societies and sizes too, and how tables are compared by ticks."""
# ruff: noqa: F811

from __future__ import annotations

import asyncio
import io
import json
import math
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.compared import CHANGED_TICK, HEAD, SOURCE, TICKS, changed, failing, other, reference, shown, victim  # noqa: F401
from support.running import run_local

from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import SettingsError
from populace.runs.courses import fork_course, replay_course
from populace.runs.diff import OutcomeDiff, _settings, diff_runs, first_difference
from populace.runs.diff_text import _ROWS, _sampled, print_diff, setting_text
from populace.runs.differences import TickDiff
from populace.runs.replay import replay_run
from populace.store.manifest import read_manifest
from populace.store.tables.ticks import TickRows, differing


@pytest.fixture(scope="module")
def stranger(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("stranger")
    run_local(out, "polarization", ticks=TICKS, agents=20)
    return out


def test_runs_of_different_scenarios_are_said_to_be_and_their_outcomes_compared(reference, stranger):
    for a, b in ((reference, stranger), (stranger, reference)):
        diff = diff_runs(str(a), str(b))
        assert (diff.first, diff.ticks, diff.identical) == (None, [], False)
        names = [read_manifest(one)["scenario"] for one in (a, b)]
        assert f"The runs are of different scenarios ({names[0]} and {names[1]}), so their settings" in diff.notes[1]
        text = shown(a, b)
        assert diff.notes[1] in text
        assert "Outcomes at the start of" in text


def test_killed_runs_of_different_scenarios_are_compared_by_what_their_tables_share(reference, stranger, tmp_path):
    """Without manifests nothing says what they are runs of."""
    for side, run in (("a", reference), ("b", stranger)):
        shutil.copytree(run, tmp_path / side)
        (tmp_path / side / "manifest.json").unlink()
    diff = diff_runs(tmp_path / "a", tmp_path / "b")
    assert diff.first is not None
    assert "The agents of the two runs have no public field in common." in diff.notes


def test_runs_of_different_sizes_are_compared_agent_by_agent(reference, tmp_path):
    run_local(tmp_path / "small", ticks=TICKS, agents=20)
    diff = diff_runs(reference, tmp_path / "small")
    assert diff.notes == ["The runs are of different sizes: A has 50 agents, B 20."]
    assert diff.first is not None
    assert diff.ticks[-1].touched_so_far >= 30, "the agents that only one of them has"


def test_no_tick_is_left_out_of_the_outcomes_of_runs_a_little_longer_than_others(tmp_path):
    for name, ticks, seed in (("a", 10, 7), ("b", 12, 8)):
        run_local(tmp_path / name, "polarization", ticks=ticks, agents=8, seed=seed)
    text = shown(tmp_path / "a", tmp_path / "b").split("Outcomes at the start of\n")[1]
    rows = [line.split() for line in text.splitlines() if line.strip()[0].isdigit()]
    name = rows[0][1]
    assert [int(row[0]) for row in rows if row[1] == name] == list(range(12 + 1))


@given(st.integers(0, 200))
def test_what_is_left_out_of_a_long_table_is_left_out_evenly(rows: int) -> None:
    chosen = _sampled(range(rows))
    assert chosen[:1] == list(range(rows))[:1]
    assert chosen[-1:] == list(range(rows))[-1:]
    assert len(chosen) <= _ROWS + 1
    assert len({late - early for early, late in pairwise(chosen[:-1])}) <= 1
    assert rows > _ROWS or len(chosen) == rows


def test_levers_are_printed_without_what_they_leave_unsaid_and_headers_whole_at_80_columns(
    reference, tmp_path, monkeypatch
):
    going = fork_course(reference, 3, (), ["name='hush', at=3, block={sender=[5]}"])
    asyncio.run(Coordinator(going.origin, going.settings, LocalTransport(), tmp_path, (), going.course).run())
    diff = diff_runs(reference, tmp_path)
    levers = next(line for line in shown(reference, tmp_path).splitlines() if line.startswith("   levers: "))
    assert '"sender": [5]' in levers
    assert "null" in json.dumps(diff.settings["levers"][1])
    assert "null" not in levers
    full = msgspec.structs.replace(
        diff, ticks=[TickDiff(100, 99_999, 99_999, [1], 99_999, 999, 999, 99_999, 99_999, 99_999, 999, 99, 99_999)]
    )
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    print_diff(full, stream)
    assert "…" not in stream.getvalue()
    for header in ("touched", "so far", "only A", "only B", "reply", "acts", "mail", "fields", "fails", "lever"):
        assert header in stream.getvalue()


class Terminal(io.StringIO):
    """What says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_outcomes_that_are_equal_throughout_are_named_in_a_line(reference, other):
    diff = diff_runs(reference, other)
    same = [OutcomeDiff(row.tick, "steady", 1.0, 1.0, 0.0) for row in diff.outcomes if row.name == "mean"]
    stream = io.StringIO()
    print_diff(msgspec.structs.replace(diff, outcomes=[*diff.outcomes, *same]), stream)
    table, _, line = stream.getvalue().partition("Outcomes at the start of")[2].partition("Outcomes that are equal")
    assert "steady" in line.splitlines()[0]
    assert "steady" not in table
    assert "mean" in table


def test_an_ask_of_which_only_the_answer_type_or_the_parameters_changed_says_so(reference, tmp_path):
    run_local(tmp_path / "run", ticks=TICKS, model__max_tokens=77)
    text = shown(reference, tmp_path / "run")
    assert "The prompt is the same: its answer type, model or parameters (max_tokens, temperature) differ." in text
    assert "  B  " not in text.partition("First difference")[2]


_ROWS_OF_A_TICK = st.dictionaries(
    st.tuples(st.integers(-1, 3), st.integers(0, 2)), st.tuples(st.none() | st.sampled_from(["x", "y"]),
                                                                 st.sampled_from([0.5, 1.5, math.nan])), max_size=8
)  # fmt: skip


def _table(rows: dict[tuple[int, int], tuple[Any, float]]) -> Any:
    if not rows:
        return None
    return pa.table(
        {
            "agent": pa.array([agent for agent, _ in rows], pa.int32()),
            "nth": pa.array([nth for _, nth in rows], pa.int32()),
            "text": pa.array([text for text, _ in rows.values()], pa.string()),
            "value": pa.array([value for _, value in rows.values()], pa.float64()),
        }
    )


@given(_ROWS_OF_A_TICK, _ROWS_OF_A_TICK)
def test_rows_that_differ_are_those_of_two_dictionaries(a: dict, b: dict) -> None:
    found = differing(_table(a), _table(b), ("agent", "nth"), ("text", "value"))
    keys = [list(a), list(b)]
    assert {keys[0][row] for row in found.only_a} == a.keys() - b.keys()
    assert {keys[1][row] for row in found.only_b} == b.keys() - a.keys()

    def unlike(one: Any, two: Any) -> bool:
        return one != two and not (one is not None and two is not None and one != one and two != two)

    both = {
        key: tuple(unlike(one, two) for one, two in zip(a[key], b[key], strict=True)) for key in a.keys() & b.keys()
    }
    pairs = list(zip(found.a, found.b, strict=True))
    assert all(keys[0][one] == keys[1][two] for one, two in pairs)
    masks = [found.columns.get(name, np.zeros(len(pairs), bool)).tolist() for name in ("text", "value")]
    assert {keys[0][one]: mask for (one, _), mask in zip(pairs, zip(*masks, strict=True), strict=True)} == {
        key: mask for key, mask in both.items() if any(mask)
    }


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 4), st.integers(0, 12))
def test_a_table_is_read_tick_by_tick_however_its_groups_fall(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], group: int, first: int
) -> None:
    out = tmp_path_factory.mktemp("ticks")
    ticks = [tick for tick, count in enumerate(counts) for _ in range(count)]
    pq.write_table(pa.table({"tick": pa.array(ticks, pa.int32()), "n": range(len(ticks))}), out / "t.parquet",
                   row_group_size=group)  # fmt: skip
    rows = TickRows(out, "t", "tick", first=first)
    for tick in range(first, len(counts)):
        found = rows.take(tick)
        expected = [n for n, one in enumerate(ticks) if one == tick]
        assert (found.column("n").to_pylist() if found is not None else []) == expected


def test_rows_out_of_order_are_refused(tmp_path):
    pq.write_table(pa.table({"tick": pa.array([0, 2, 1], pa.int32())}), tmp_path / "t.parquet")
    rows = TickRows(tmp_path, "t", "tick")
    with pytest.raises(SettingsError, match="tick 1 comes after tick 2"):
        [rows.take(tick) for tick in range(3)]


def test_a_replay_that_parts_leaves_what_names_the_first_difference(tmp_path):
    """The agent is asked and answered the same, and does another thing with the answer."""
    scenario = changed(tmp_path, "text=said", "text=said ")
    run_local(tmp_path / "run", scenario, ticks=TICKS)
    Path(scenario).write_text(SOURCE.replace("text=said", "text=said.upper()"), encoding="utf-8")
    going = replay_course(tmp_path / "run")
    replayed = replay_run(going, tmp_path / "run", tmp_path / "replayed")
    assert replayed.diverged is not None
    found = first_difference(tmp_path / "run", tmp_path / "replayed")
    assert found is not None
    assert (found.what, found.about, found.tick) == ("action", "feed.post", replayed.diverged.tick)
    assert found.text_a is not None
    assert found.text_b == found.text_a.replace("I think", "I THINK")


def test_parameters_and_empty_settings_are_said_plainly():
    """What a run leaves as it is declared has its value; what is empty is none; what is not there is not set."""

    def manifest(reach: int, **settings: Any) -> dict[str, Any]:
        return {"settings": {"society": {}, **settings}, "parameters": {"reach": reach}}

    a = manifest(60, levers=[], arm=None)
    b = manifest(5, levers=[{"at": 1}], arm="treated", society={"reach": 5})
    found = _settings(a, b)
    assert found == {"society.reach": (60, 5), "levers": ([], [{"at": 1}]), "arm": (None, "treated")}
    assert [setting_text(one) for one in ([], {}, None, 5)] == ["none", "none", "not set", "5"]
    old = {key: value for key, value in manifest(60).items() if key != "parameters"}
    assert _settings(old, {**b, "parameters": {}}) == {
        "society.reach": (None, 5), "levers": (None, [{"at": 1}]), "arm": (None, "treated"),
    }  # fmt: skip
