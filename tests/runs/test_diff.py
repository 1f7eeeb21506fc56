"""Two runs compared: the first difference by name and with both texts, whom it touched, and what it came to."""
# ruff: noqa: F811

from __future__ import annotations

import asyncio
import json
import math
import shutil
from typing import Any

import pytest
from support.attempts import Stopper
from support.command import populace
from support.compared import CHANGED_TICK, HEAD, SOURCE, TICKS, changed, failing, other, reference, shown, victim  # noqa: F401
from support.running import SOCIETIES, run_local, settings_of

from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import Interrupted
from populace.data.societies import find_society
from populace.runs.courses import fork_course, recorded_hashes
from populace.runs.diff import diff_runs, first_difference
from populace.runs.differences import Difference
from populace.store.tables.tables import read_table


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
def test_what_the_first_difference_is_follows_from_what_was_changed(reference, tmp_path, old, new, what, about, texts):
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
