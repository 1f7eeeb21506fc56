"""Two runs compared: the first difference by name and with both texts, whom it touched, and what it came to."""

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
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command import populace
from support.lives import Stopper
from support.running import SOCIETIES, run_local, settings_of

from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import Interrupted, SettingsError
from populace.data.societies import find_society
from populace.runs.courses import fork_course, recorded_hashes, replay_course
from populace.runs.diff import OutcomeDiff, _settings, diff_runs, first_difference
from populace.runs.diff_text import _ROWS, _sampled, _setting, print_diff
from populace.runs.differences import Difference, TickDiff
from populace.runs.replay import replay_run
from populace.store.manifest import read_manifest
from populace.store.tables.tables import read_table
from populace.store.tables.ticks import TickRows, differing

TICKS = 6
CHANGED_TICK = 2
SOURCE = Path(SOCIETIES).read_text(encoding="utf-8")
HEAD = "def scripted(ask: Ask, draw: Stream) -> object:\n"


def changed(folder: Path, old: str, new: str) -> str:
    """A scenario that is the tests' society but for one piece of its source."""
    assert SOURCE.count(old) == 1
    path = folder / "changed.py"
    path.write_text(SOURCE.replace(old, new), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("reference")
    run_local(out, ticks=TICKS)
    return out


@pytest.fixture(scope="module")
def victim(reference) -> tuple[int, str, str]:
    """An agent that was asked in the tick to change, what it was answered, and the other answer."""
    asks = read_table(reference, "asks")
    here = (pc.field("tick") == CHANGED_TICK) & (pc.field("purpose") == "mood") & pc.field("answer").is_valid()
    row = asks.filter(here).slice(7, 1).to_pylist()[0]
    text = row["answer"]
    label = next(one for one in ("up", "down") if one in text)
    other = {"up": "down", "down": "up"}[label]
    return row["agent"], text, text.replace(label, other)


@pytest.fixture(scope="module")
def other(tmp_path_factory, victim) -> Path:
    """The run in which one agent is answered something else in one tick."""
    agent, _, text = victim
    label = "up" if "up" in text else "down"
    folder = tmp_path_factory.mktemp("other")
    rule = f'    if (ask.tick, ask.agent, ask.nth) == ({CHANGED_TICK}, {agent}, 0):\n        return "{label}"\n'
    run_local(folder / "run", changed(folder, HEAD, HEAD + rule), ticks=TICKS)
    return folder / "run"


@pytest.fixture(scope="module")
def failing(tmp_path_factory) -> Path:
    """The run in which more turns fail."""
    folder = tmp_path_factory.mktemp("failing")
    run_local(folder / "run", changed(folder, '("crash").random() < 0.02', '("crash").random() < 0.1'), ticks=TICKS)
    return folder / "run"


def shown(a: Path, b: Path) -> str:
    stream = io.StringIO()
    print_diff(diff_runs(a, b), stream)
    return stream.getvalue()


def test_one_changed_answer_is_named_with_its_agent_tick_and_both_texts(reference, other, victim):
    agent, was, now = victim
    diff = diff_runs(reference, other)
    assert diff.parted_at == CHANGED_TICK
    assert diff.first == Difference(CHANGED_TICK, agent, "answer", was, now, nth=0, about="mood")
    assert first_difference(reference, other) == diff.first
    there = diff.ticks[0]
    assert there.tick == CHANGED_TICK
    assert (there.answers_other, there.fields, there.touched, there.agents) == (1, 1, 1, [agent])
    assert [row.tick for row in diff.ticks] == list(range(CHANGED_TICK, TICKS))
    assert diff.ticks[1].asks_other == 1, "its next prompt says its mood"
    text = shown(reference, other)
    assert f"The two part in tick {CHANGED_TICK}; the 2 ticks before are identical." in text
    assert f"First difference, in tick {CHANGED_TICK}: the answer to ask 0 of agent {agent} (mood)" in text
    assert f"  A  {was}\n  B  {now}\n" in text
    assert text.index("What differs") < text.index("Outcomes at the start of")


def test_turned_around_the_texts_are_too(reference, other, victim):
    found, back = first_difference(reference, other), first_difference(other, reference)
    assert found is not None
    assert back is not None
    assert (found.text_a, found.text_b) == (back.text_b, back.text_a)
    sums = [
        {(row.asks_other, row.asks_only_a + row.asks_only_b, row.touched, row.messages) for row in diff.ticks}
        for diff in (diff_runs(reference, other), diff_runs(other, reference))
    ]
    assert sums[0] == sums[1]


def test_what_differs_spreads_by_messages(reference, failing):
    diff = diff_runs(reference, failing)
    assert diff.first is not None
    assert diff.first.what == "ask", "a turn that fails at once does not come to ask"
    assert diff.first.text_b is None
    so_far = [row.touched_so_far for row in diff.ticks]
    assert so_far == sorted(so_far)
    assert so_far[-1] > 2 * so_far[0] > 0
    assert sum(row.failures for row in diff.ticks) > 0


@pytest.mark.parametrize("name", ["other", "failing"])
def test_counts_are_those_of_a_plain_comparison_of_the_whole_tables(reference, name, request):
    """Every tick's counts and agents, against dictionaries of all rows."""
    other = request.getfixturevalue(name)
    rows: list[dict[str, dict[tuple, dict]]] = [{}, {}]
    for side, run in zip(rows, (reference, other), strict=True):
        for name, keys in (
            ("asks", ("tick", "agent", "nth")), ("messages", ("tick_sent", "sender", "nth")),
            ("actions", ("tick", "agent", "nth")), ("agents", ("tick", "agent")),
            ("failures", ("tick", "agent")),
        ):  # fmt: skip
            drop = {"latency_s", "tokens_in", "tokens_out", "cost_usd", "calls", "settled", "detail", "prompt", "error",
                    "story", "tick_read"}  # fmt: skip
            table = read_table(run, name)
            table = table.drop_columns([*drop & set(table.column_names)])
            side[name] = {tuple(row[key] for key in keys): row for row in table.to_pylist()}
    diff = diff_runs(reference, other)
    assert diff.first is not None
    asks = [side["asks"] for side in rows]
    assert (diff.first.tick, diff.first.agent, diff.first.nth) == min(
        key for key in asks[0].keys() | asks[1].keys() if asks[0].get(key) != asks[1].get(key)
    )
    for row in diff.ticks:
        touched = set()
        counts = {}
        for name, late in (("asks", 0), ("messages", 0), ("actions", 0), ("agents", 1), ("failures", 0)):
            one, two = (side[name] for side in rows)
            differ = [key for key in one.keys() | two.keys() if one.get(key) != two.get(key)]
            differ = [key for key in differ if key[0] == row.tick + late]
            counts[name] = len(differ)
            for key in differ:
                touched |= {
                    side[name][key]["receiver"] if name == "messages" and key[1] < 0 else key[1]
                    for side in rows
                    if key in side[name]
                }
        assert (row.messages, row.actions, row.fields) == (counts["messages"], counts["actions"], counts["agents"])
        assert row.asks_other + row.asks_only_a + row.asks_only_b + row.answers_other == counts["asks"]
        assert row.touched == len(touched)
        assert row.agents == sorted(touched)[:10]


def test_identical_runs_are_said_to_be(reference, tmp_path):
    run_local(tmp_path / "same", ticks=TICKS, shards=2)
    diff = diff_runs(reference, tmp_path / "same")
    assert diff.identical
    assert (diff.first, diff.ticks, diff.notes) == (None, [], [])
    assert diff.settings == {"shards": (1, 2)}
    text = shown(reference, tmp_path / "same")
    assert "The two are identical in the 6 ticks.\n" in text
    assert "shards: 1 in A, 2 in B" in text
    assert "society" not in text
    assert "Outcomes" not in text


def test_control_what_the_hashes_say_is_not_taken_from_the_tables(reference, other):
    """Were the first tick searched in the tables though the hashes agree, equal hashes would not end the search."""
    hashes = recorded_hashes(reference)
    assert diff_runs(reference, other, hashes, hashes).parted_at is None
    assert first_difference(reference, other, hashes, hashes) is None
    late = [*hashes[: CHANGED_TICK + 1], *["0" * 32] * (TICKS - CHANGED_TICK - 1)]
    assert diff_runs(reference, other, hashes, late).parted_at == CHANGED_TICK + 1


def test_runs_of_different_length_are_compared_where_both_are(reference, other, tmp_path):
    run_local(tmp_path / "short", ticks=4)
    diff = diff_runs(tmp_path / "short", reference)
    assert diff.identical
    assert (diff.ticks_a, diff.ticks_b) == (4, TICKS)
    assert "identical in the 4 ticks that both have" in shown(tmp_path / "short", reference)
    parted = diff_runs(tmp_path / "short", other)
    assert parted.first == first_difference(reference, other)
    whole = diff_runs(reference, other)
    assert [msg_free(row) for row in parted.ticks] == [msg_free(row) for row in whole.ticks[: len(parted.ticks)]]
    assert parted.ticks[-1].tick == 3
    assert parted.ticks[-1].messages <= whole.ticks[1].messages, "that mail expired in the shorter is no difference"


def msg_free(row: Any) -> tuple[Any, ...]:
    return (row.tick, row.asks_other, row.asks_only_a, row.asks_only_b, row.answers_other, row.actions, row.fields)


def test_an_interrupted_run_and_one_that_was_killed_are_compared_as_far_as_they_came(reference, other, tmp_path):
    stopper = Stopper(4)
    options = {"ticks": TICKS, "checkpoint__every_ticks": 2}
    run = Coordinator(find_society(SOCIETIES), settings_of(**options), LocalTransport(), tmp_path / "cut", [stopper])
    stopper.coordinator = run
    with pytest.raises(Interrupted):
        asyncio.run(run.run())
    assert diff_runs(tmp_path / "cut", reference).identical
    assert diff_runs(tmp_path / "cut", other).first == first_difference(reference, other)
    late = list((tmp_path / "cut" / "parts").glob("*-000002.parquet"))
    assert late, "the mail that expired when it was interrupted"
    for path in [*(tmp_path / "cut").glob("*.parquet"), tmp_path / "cut" / "manifest.json", *late]:
        path.unlink()  # what a killed run leaves: the parts up to its checkpoint
    hashes = recorded_hashes(tmp_path / "cut")
    assert len(hashes) == 4
    killed = diff_runs(tmp_path / "cut", other, hashes, None)
    assert (killed.ticks_a, killed.parted_at) == (4, CHANGED_TICK)
    assert killed.first == first_difference(reference, other)
    assert diff_runs(tmp_path / "cut", reference, hashes).identical
    assert diff_runs(tmp_path / "cut", other) == killed, "the hashes of its checkpoint, where none are given"
    shutil.rmtree(tmp_path / "cut" / "checkpoints")
    without = diff_runs(tmp_path / "cut", other)
    assert without.first == killed.first
    assert without.notes[0] == "A run left no trace hashes, so the tables alone were compared."
    assert "A left no hashes of the world's state" in without.notes[1]
    assert diff_runs(tmp_path / "cut", reference).identical


@pytest.mark.parametrize(
    ("old", "new", "what", "about", "texts"),
    [
        ('{self.mood:.3f}"', '{self.mood:.2f}"', "ask", "mood", ("user:  0.", "user:  0.")),
        ('"n": self.heard})\n        ctx.send(int', '"m": self.heard})\n        ctx.send(int', "message", "",
         ('{"n":0}', '{"m":0}')),
        ("text=said", "text=said.upper()", "action", "feed.post", ('"I think ', '"I THINK ')),
        ("self.mood += 0.1 if", "self.mood += 0.2 if", "field", "mood", (".", ".")),
        ('raise RuntimeError("something', 'raise ValueError("something', "failure", "", ("RuntimeError", "ValueError")),
        ('draw.random() for _', '1 - draw.random() for _', "field", "mood", ("0.", "0.")),
    ],
)  # fmt: skip
def test_what_the_first_difference_is_follows_from_what_was_changed(
    reference, tmp_path, old, new, what, about, texts
):
    """Each change of code makes another kind of first difference."""
    run_local(tmp_path / "run", changed(tmp_path, old, new), ticks=TICKS)
    found = first_difference(reference, tmp_path / "run")
    assert found is not None
    assert found.what == what
    assert about in found.about
    assert (found.tick == -1) == (new == "1 - draw.random() for _")
    for text, expected in zip((found.text_a, found.text_b), texts, strict=True):
        assert text is not None
        assert expected in text
    assert found.text_a != found.text_b
    assert found.text_a in shown(reference, tmp_path / "run").replace("\n     ", "\n")


def test_a_lever_of_a_fork_is_the_first_difference(reference, tmp_path):
    going = fork_course(reference, 3, (), ["name='hush', at=3, block={sender=[5]}"])
    asyncio.run(Coordinator(going.origin, going.settings, LocalTransport(), tmp_path, (), going.course).run())
    diff = diff_runs(reference, tmp_path)
    assert diff.parted_at == 3
    assert diff.first == Difference(3, 5, "lever", None, "block", about="hush")
    assert diff.ticks[0].agents == [5]
    assert "First difference, in tick 3: lever hush on agent 5\n  A  (nothing)\n  B  block\n" in shown(
        reference, tmp_path
    )


def test_tables_that_only_one_run_kept_are_named(reference, other, tmp_path):
    run_local(tmp_path / "bare", ticks=TICKS, seed=8, record__asks=False, record__agents="all")
    notes = diff_runs(reference, tmp_path / "bare").notes
    assert "Only A has a table of asks." in notes
    assert "The runs keep agents differently (record.agents changed and all)." in notes
    run_local(tmp_path / "none", ticks=TICKS, seed=8, record__asks=False, record__agents="none",
              record__messages=False, record__actions=False)  # fmt: skip
    nothing = diff_runs(reference, tmp_path / "none")
    assert nothing.parted_at == 0
    assert nothing.first is None or nothing.first.what == "failure"


def test_the_command_line_compares(reference, other, victim, tmp_path):
    agent, was, now = victim
    ended = populace("diff", str(reference), str(other), "--json", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["first"] == {
        "tick": CHANGED_TICK, "agent": agent, "what": "answer", "text_a": was, "text_b": now, "nth": 0, "about": "mood",
    }  # fmt: skip
    outcomes = {(row["tick"], row["name"]): row for row in found["outcomes"]}
    assert outcomes[CHANGED_TICK, "mean"]["difference"] == 0.0
    moved = outcomes[CHANGED_TICK + 1, "mean"]
    assert moved["difference"] == moved["b"] - moved["a"] == pytest.approx(math.copysign(0.2 / 50, moved["difference"]))
    ended = populace("diff", str(reference), str(other), cwd=tmp_path)
    assert f"First difference, in tick {CHANGED_TICK}: the answer to ask 0 of agent {agent}" in ended.stdout
    ended = populace("diff", str(reference), ".", cwd=tmp_path)
    assert ended.returncode == 2
    assert "there is no run to compare" in ended.stderr


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
    assert [_setting(one) for one in ([], {}, None, 5)] == ["none", "none", "not set", "5"]
    old = {key: value for key, value in manifest(60).items() if key != "parameters"}
    assert _settings(old, {**b, "parameters": {}}) == {
        "society.reach": (None, 5), "levers": (None, [{"at": 1}]), "arm": (None, "treated"),
    }  # fmt: skip
