"""A replay names what differs first in the order of causes: asks, fields, then what a turn did, in its order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.attempts import go
from support.running import SOCIETIES
from support.worldly import __file__ as worldly

from populace.cluster.standing import Comparison
from populace.runs import differences
from populace.runs.courses import replay_course
from populace.runs.replay import Replayed, replay_run
from populace.store.manifest import read_manifest

SOURCES = {name: Path(path).read_text(encoding="utf-8") for name, path in (("w", worldly), ("t", SOCIETIES))}
SEND, PAY = "ctx.send(lot.integer(8), self.said)", 'ctx.act("fund.pay", amount=self.coins)'
FIELD = "self.share = self.coins / (ctx.tick + 1)"
LAST = 7

CHANGES = {
    "a field": (FIELD, f"{FIELD} + (ctx.tick == AT)", "field", "share"),
    "a field on which what is said and done hangs": (
        "self.coins += lot.integer(3)", "self.coins += lot.integer(3) + (ctx.tick == AT)", "field", "coins",
    ),
    "a message's body": (SEND, 'ctx.send(lot.integer(8), self.said + "!" * (ctx.tick == AT))', "message", "agent"),
    "a message's receiver": (SEND, "ctx.send((lot.integer(8) + (ctx.tick == AT)) % 8, self.said)", "message", "agent"),
    "a message more": (SEND, f"{SEND}; ctx.send([0] * (ctx.tick == AT), 'more')", "message", "agent"),
    "a message less": (SEND, f"ctx.tick != AT and {SEND}", "message", "agent"),
    "an action's arguments": (PAY, f"{PAY[:-1]} + (ctx.tick == AT))", "action", "fund.pay"),
    "an action less": (PAY, f"ctx.tick != AT and {PAY}", "action", "fund.pay"),
    "an action, and a message after it": (
        f"{PAY}\n        {SEND}",
        f"{PAY[:-1]} + (ctx.tick == AT))\n        {SEND[:-1]} + '!' * (ctx.tick == AT))", "action", "fund.pay",
    ),
    "a message before an action": (
        f"{PAY}\n        {SEND}",
        f"[ctx.send(0, 1), ctx.act('fund.pay', amount=-1)] if ctx.tick == AT else 0\n        {PAY}\n        {SEND}",
        "action", "fund.pay",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> dict[str, tuple[Path, Path]]:
    """By society, its scenario and its run."""
    folder = tmp_path_factory.mktemp("recorded")
    runs = {}
    for name, source in SOURCES.items():
        scenario = folder / f"{name}.py"
        scenario.write_text(source, encoding="utf-8")
        go(folder / name, scenario=str(scenario))
        runs[name] = scenario, folder / name
    return runs


@pytest.fixture
def replay_with(tmp_path, recorded) -> Callable[[str, str, str], Replayed]:
    def replay(name: str, old: str, new: str) -> Replayed:
        scenario, run = recorded[name]
        assert SOURCES[name].count(old) == 1
        scenario.write_text(SOURCES[name].replace(old, new), encoding="utf-8")
        try:
            return replay_run(replay_course(run), run, tmp_path / "again")
        finally:
            scenario.write_text(SOURCES[name], encoding="utf-8")

    return replay


@pytest.mark.parametrize("at", [3, LAST])
@pytest.mark.parametrize("change", CHANGES)
def test_a_replay_names_what_differs_first(replay_with, change, at):
    old, new, what, about = CHANGES[change]
    replayed = replay_with("w", old, new.replace("AT", str(at)))
    assert replayed.diverged is not None
    assert replayed.diverged.tick == at
    head, then, now = replayed.why.split("\n", 2)
    assert head.startswith(f"first difference: {what} ")
    assert f" of agent 0 in tick {at}" in head
    assert f"({about}" in head
    there, here = then.removeprefix("  on record: "), now.removeprefix("  now: ")
    assert there != here
    assert (here == "nothing") == (change == "a message less")
    assert (there == "nothing") == (change == "a message more")
    assert here.startswith("message: to agent ") == (change in ("an action less", "a message before an action"))


def test_an_ask_that_differs_comes_before_the_fields_and_deeds_that_follow(replay_with):
    old = 'f"{self.last} {self.mood:.3f}"'
    replayed = replay_with("t", old, f'{old} + "?" * (ctx.tick == 3)')
    assert "first difference: ask 0 of agent " in replayed.why
    assert "in tick 3 (mood) is another than the one on record" in replayed.why


def test_mail_of_the_last_tick_of_a_replay_that_stops_is_in_its_tables(replay_with, tmp_path):
    """The books of a replay that ends at a difference balance: what was sent in its last tick is in its tables."""
    replay_with("w", FIELD, f"{FIELD} + (ctx.tick == 3)")
    messages = read_manifest(tmp_path / "again")["messages"]
    assert messages["sent"] == messages["delivered"] + messages["expired"] + messages["refused"] > 0


def test_control_with_that_mail_missing_a_message_that_is_still_sent_is_named(replay_with, monkeypatch):
    """What was said before: a replay that stops with its mail in flight, taken for a run whose mail is all there."""

    check = Comparison.check

    def raising(self: Comparison, *args: Any) -> None:
        if (error := check(self, *args)) is not None:
            raise error

    former = ("levers", "asks", "failures", "actions", "messages", "agents")
    monkeypatch.setattr(Comparison, "check", raising)
    monkeypatch.setattr(differences, "_all_fated", lambda _manifest: True)
    monkeypatch.setattr(differences, "_ranks", lambda name, _which, places: [former.index(name)] * len(places))
    replayed = replay_with("w", FIELD, f"{FIELD} + (ctx.tick == 3)")
    assert "first difference: message " in replayed.why
    assert replayed.why.endswith("now: nothing")


def test_what_became_of_a_deed_comes_after_deeds_and_what_the_world_sent_comes_last():
    none, row = np.empty(0, np.intp), np.array([0])
    fate = differences.Differing(none, none, row, row, {"kind": np.array([False]), "fate": np.array([True])})
    deed = differences.Differing(none, none, row, row, {"kind": np.array([True]), "fate": np.array([True])})
    new = differences.Differing(row, none, none, none, {})
    ranks = [
        differences._ranks("agents", new, [(0,)]),
        differences._ranks("actions", deed, [(0, 0)]),
        differences._ranks("actions", fate, [(0, 0)]),
        differences._ranks("messages", new, [(-1, 0)]),
    ]
    assert ranks == sorted(ranks)
    assert len({rank for (rank,) in ranks}) == 4
    assert differences._ranks("messages", new, [(5, 0)]) == differences._ranks("actions", new, [(5, 0)])
