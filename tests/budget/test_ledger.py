"""One ceiling over many runs: the sum holds whatever the processes do, and nothing is booked that was not lent."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.asking import ASKERS, asking, here, run_on_ray
from support.command import Begun, populace
from support.misbehaving import Misbehaving, slow
from support.sections import sectioned

from populace.budget.amounts import NOTHING, UNLIMITED, Amount, ceiling, pico_usd
from populace.budget.lease import Want
from populace.budget.ledger import Ledger, amount_text, reserve
from populace.budget.service import AccountService
from populace.core.errors import BudgetSpent, SettingsError, StorageError
from populace.settings import load_settings
from populace.store.manifest import read_manifest

CEILING = Amount(10_000, pico_usd(1.0))


def spender(path: Path, seed: int, rounds: int, results: Any) -> None:
    """A process of many runs, some of which never end: what each reserved and spent."""
    rng = random.Random(seed)
    ledger, spent = Ledger(path), NOTHING
    for nth in range(rounds):
        try:
            granted, _ = ledger.reserve("e", f"{seed}-{nth}", CEILING, Amount(rng.randint(1, 900), pico_usd(0.07)))
        except BudgetSpent:
            continue
        used = Amount(rng.randint(0, granted.tokens), rng.randint(0, granted.pico_usd))
        spent += used
        time.sleep(rng.random() * 0.002)
        if rng.random() < 0.9:
            ledger.settle("e", f"{seed}-{nth}", used)
    results.put((spent.tokens, spent.pico_usd))


def spend_together(path: Path, processes: int = 4, rounds: int = 25) -> Amount:
    """What so many processes spent together."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    crew = [context.Process(target=spender, args=(path, seed, rounds, results)) for seed in range(processes)]
    for one in crew:
        one.start()
    parts = [results.get(timeout=240) for _ in crew]
    for one in crew:
        one.join(timeout=240)
    return Amount(sum(tokens for tokens, _ in parts), sum(money for _, money in parts))


def test_many_processes_never_pass_the_ceiling(tmp_path):
    path = tmp_path / "ledger.sqlite"
    spent = spend_together(path)
    entries = Ledger(path).entries("e")
    booked = sum((entry.booked for entry in entries), NOTHING)
    assert spent.fits(booked)
    assert booked.fits(CEILING)
    assert booked.tokens > 0.9 * CEILING.tokens or booked.pico_usd > 0.9 * CEILING.pico_usd, "it was contended"
    assert any(entry.open for entry in entries)


def lend_all_twice(path: Path) -> Amount:
    """What is booked once two runs have each asked for all there is, at one time."""
    with ThreadPoolExecutor(2) as crew:
        for nth in range(2):
            crew.submit(Ledger(path).reserve, "e", f"run-{nth}", CEILING, CEILING)
    return sum((entry.booked for entry in Ledger(path).entries("e")), NOTHING)


def test_what_is_asked_for_twice_at_one_time_is_lent_once(tmp_path):
    assert lend_all_twice(tmp_path / "ledger.sqlite") == CEILING


def test_control_without_the_lock_the_ceiling_is_passed(tmp_path, monkeypatch):
    """Reading and booking in two transactions: both have read before either books, and each is lent the same money."""
    connect, both_have_read = sqlite3.connect, threading.Barrier(2)

    class Unlocked(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            if sql == "BEGIN IMMEDIATE" or sql in ("COMMIT", "ROLLBACK"):
                return super().execute("SELECT 1")
            if sql.startswith("INSERT"):
                both_have_read.wait(timeout=240)
            return super().execute(sql, *args)

    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, factory=Unlocked, **options))
    assert not lend_all_twice(tmp_path / "ledger.sqlite").fits(CEILING)


def test_what_is_left_is_lent_and_what_comes_back_is_left_again(tmp_path):
    ledger = Ledger(tmp_path / "deep" / "ledger.sqlite")
    assert ledger.reserve("e", "a", CEILING, Amount(6_000, UNLIMITED.pico_usd)) == (Amount(6_000, 10**12), NOTHING)
    with pytest.raises(BudgetSpent, match=r"\$1 and 10,000 tokens.*hold \$1 and 6,000 tokens"):
        ledger.reserve("e", "b", CEILING, UNLIMITED)
    assert ledger.reserve("other", "b", CEILING, UNLIMITED)[0] == CEILING, "experiments in one file are apart"
    ledger.settle("e", "a", Amount(1_000, 5 * 10**11 + 1))
    assert ledger.reserve("e", "b", CEILING, UNLIMITED)[0] == Amount(9_000, 5 * 10**11 - 10**6), "whole micro-dollars"
    ledger.settle("e", "b", Amount(9_500, 0))  # a server billed more than was reserved: it is booked in full
    with pytest.raises(BudgetSpent):
        ledger.reserve("e", "c", CEILING, UNLIMITED)
    assert ledger.reserve("e", "c", CEILING + Amount(600, 0), UNLIMITED)[0].tokens == 100
    assert [entry.run for entry in ledger.entries("e")] == ["a", "b", "c"]


def test_a_run_takes_its_own_booking_up_again(tmp_path):
    """Killed, it resumes under what it had; ended at its ceiling, it goes on when there is more."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    own = Amount(4_000, UNLIMITED.pico_usd)
    ledger.reserve("e", "a", CEILING, own)
    assert ledger.reserve("e", "a", CEILING, own) == (Amount(4_000, 10**12), NOTHING)
    ledger.settle("e", "a", Amount(4_000, 10))
    with pytest.raises(BudgetSpent):
        ledger.reserve("e", "a", CEILING, own)
    raised = Amount(12_000, UNLIMITED.pico_usd)
    assert ledger.reserve("e", "a", CEILING, raised) == (Amount(10_000, 10**12), Amount(4_000, 10))
    ledger.mark("e", "a", Amount(6_000, 10))
    ledger.mark("e", "a", Amount(5_000, 70))
    assert ledger.entries("e")[0].spent == Amount(6_000, 70), "what it may have spent never sinks"
    assert ledger.reserve("e", "a", CEILING, raised) == (Amount(10_000, 10**12), Amount(6_000, 70))
    ledger.settle("e", "a", Amount(6_100, 70))
    assert ledger.entries("e")[0].booked == Amount(6_100, 70)
    with pytest.raises(StorageError, match="not open"):
        ledger.mark("e", "a", Amount(6_200, 70))


def test_a_run_that_fails_before_its_first_call_does_not_forget_what_it_spent(tmp_path):
    path = tmp_path / "ledger.sqlite"
    reserve(settings_with(path), "a", tmp_path).settle(Amount(120, 0))
    reserve(settings_with(path), "a", tmp_path).settle(NOTHING)
    assert Ledger(path).entries()[0].booked == Amount(120, 0)


@given(data=st.data())
def test_what_an_account_marks_bounds_what_it_lends_at_every_moment(data):
    """So a killed process has spent no more than stands in the file; and few marks are made."""
    marks = [NOTHING]
    model = sectioned(kind="openai", name="m", budget={"tokens": 50_000})
    account = AccountService(model, NOTHING, marks.append)
    lent = NOTHING
    for nth in range(data.draw(st.integers(1, 60))):
        spent = Amount(data.draw(st.integers(0, lent.tokens + 5)), 0)  # a server may bill more than was reserved
        left = (lent - spent).or_nothing()
        unused = Amount(data.draw(st.integers(0, left.tokens)), 0)
        money = Amount(data.draw(st.integers(1, 2_000)), 0)
        want = Want(0, 0, nth, 1, 1, 1, money=money, least_money=Amount(1, 0), spent=spent, unused_money=unused)
        lease = account.exchange(want)
        lent = left - unused + lease.money
        overrun = account.allowance.overruns * 5
        assert account.spent.tokens <= marks[-1].tokens + overrun
        assert lease.money == money or marks[-1].tokens == 50_000
    assert len(marks) <= 64 + 2
    assert all(a.fits(b) for a, b in pairwise(marks))


def test_control_an_account_that_marks_nothing_is_noticed():
    account = AccountService(sectioned(kind="openai", name="m", budget={"tokens": 50_000}), NOTHING, None)
    account.exchange(Want(0, 0, 0, 1, 1, 1, money=Amount(10, 0), least_money=Amount(1, 0)))
    assert not account.spent.fits(NOTHING)


def test_a_mark_that_cannot_be_made_lends_nothing():
    def refuse(_: Amount) -> None:
        raise StorageError("the disk is gone")

    account = AccountService(sectioned(kind="openai", name="m", budget={"tokens": 50_000}), NOTHING, refuse)
    with pytest.raises(StorageError):
        account.exchange(Want(0, 0, 0, 1, 1, 1, money=Amount(10, 0), least_money=Amount(1, 0)))
    assert account.spent == NOTHING


def test_an_unlimited_part_stays_unlimited_until_somebody_limits_it(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    tokens_only = ceiling(None, 1_000)
    for run in "ab":
        granted, _ = ledger.reserve("e", run, tokens_only, Amount(100, UNLIMITED.pico_usd))
        assert granted == Amount(100, UNLIMITED.pico_usd)
    with pytest.raises(BudgetSpent):
        ledger.reserve("e", "c", CEILING, Amount(100, UNLIMITED.pico_usd))
    for run in "ab":
        ledger.settle("e", run, Amount(50, pico_usd(0.25)))
    assert ledger.reserve("e", "c", CEILING, Amount(100, UNLIMITED.pico_usd))[0] == Amount(100, pico_usd(0.5))


def settings_with(path: Path, **more: Any) -> Any:
    options = {"model__kind": "openai", "model__name": "m", "budget__ledger": str(path), "experiment": "e"}
    return load_settings(**{**options, "budget__experiment_tokens": 500, **more})


def test_the_lesser_ceiling_is_the_runs(tmp_path):
    path = tmp_path / "ledger.sqlite"
    first = reserve(settings_with(path, budget__tokens=300, arm="treated"), "a", tmp_path / "a")
    assert first.settings.budget.tokens == 300
    second = reserve(settings_with(path, budget__tokens=300), "b", tmp_path / "b")
    assert second.settings.budget.tokens == 200
    assert second.settings.budget.usd is None
    with pytest.raises(BudgetSpent, match="nothing is left"):
        reserve(settings_with(path), "c", tmp_path / "c")
    first.settle(Amount(120, 7))
    second.settle(None)
    entries = {entry.run: entry for entry in Ledger(path).entries()}
    assert (entries["a"].arm, entries["a"].open, entries["a"].booked) == ("treated", False, Amount(120, 7))
    assert entries["b"].open
    assert entries["b"].booked.tokens == 200
    assert reserve(settings_with(path), "c", tmp_path / "c").settings.budget.tokens == 180


def test_the_ceiling_that_a_run_reached_is_named(tmp_path):
    """Its own, or the experiment's, whichever is less; of another end nothing is said."""
    path = tmp_path / "ledger.sqlite"
    spent = BudgetSpent("spent")
    own = reserve(settings_with(path, budget__tokens=300), "a", tmp_path / "a")
    assert "raise budget.tokens (--set)" in str(own.explained(spent))
    assert "experiment" not in str(own.explained(spent))
    shared = reserve(settings_with(path, budget__tokens=300), "b", tmp_path / "b")
    assert "raise budget.experiment_tokens (--set)" in str(shared.explained(spent))
    assert "all runs of experiment 'e'" in str(shared.explained(spent))
    assert isinstance(shared.explained(spent), BudgetSpent)
    other = StorageError("other")
    assert shared.explained(other) is other
    money = {"budget__experiment_tokens": None, "budget__experiment_usd": 0.5, "experiment": "money",
             "budget__prices": {"m": {"usd_per_million_tokens_in": 1.0}}}  # fmt: skip
    both = reserve(settings_with(path, **money, budget__tokens=300), "c", tmp_path / "c")
    assert "raise budget.experiment_usd or budget.tokens (--set)" in str(both.explained(spent))
    off = reserve(settings_with(path, **{**money, "experiment": "off"}, budget__usd=0.1234567), "d", tmp_path)
    assert "raise budget.usd (--set)" in str(off.explained(spent)), "what is rounded off is no lesser ceiling"


def test_money_passes_through_settings_without_loss(tmp_path):
    """What a run's account makes of the ceiling in its settings is exactly what was reserved."""
    rng = random.Random(5)
    price = {"m": {"usd_per_million_tokens_in": 1.0}}
    for nth in range(200):
        usd = rng.random() * 10 ** rng.randint(-3, 4)
        more = {"budget__experiment_usd": usd, "budget__experiment_tokens": None}
        path = tmp_path / f"{nth}.sqlite"
        booking = reserve(settings_with(path, budget__prices=price, **more), "a", tmp_path)
        budget = booking.settings.model_validate_json(booking.settings.model_dump_json()).budget
        (entry,) = Ledger(path).entries()
        assert ceiling(budget.usd).pico_usd == entry.reserved.pico_usd
        assert pico_usd(usd) - 10**6 < entry.reserved.pico_usd <= pico_usd(usd)


def test_settings_that_do_not_fit_together_and_files_that_are_none(tmp_path):
    with pytest.raises(SettingsError, match=r"budget\.ledger"):
        reserve(settings_with(tmp_path / "x", experiment=""), "a", tmp_path)
    with pytest.raises(SettingsError, match=r"budget\.prices\.m"):
        reserve(settings_with(tmp_path / "x", budget__experiment_usd=1.0), "a", tmp_path)
    scripted = settings_with(tmp_path / "x", model__kind="scripted")
    assert reserve(scripted, "a", tmp_path).settings is scripted
    assert not (tmp_path / "x").exists()
    (tmp_path / "text").write_text("not a database, and long enough to be told from one" * 10)
    with pytest.raises(StorageError, match="text"):
        reserve(settings_with(tmp_path / "text"), "a", tmp_path)
    with pytest.raises(SettingsError, match="no such file"):
        Ledger(tmp_path / "none").entries()
    assert amount_text(UNLIMITED) == "no limit"


@pytest.mark.chaos
@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_runs_on_ray_stay_under_the_ceiling_of_their_experiment(tmp_path):
    runs_stay_under_the_ceiling(tmp_path, run_on_ray, 2)


def test_runs_stay_under_the_ceiling_of_their_experiment(tmp_path):
    runs_stay_under_the_ceiling(tmp_path, here, 5)


def runs_stay_under_the_ceiling(tmp_path: Path, run: Any, shards: int) -> None:
    """One after the other, until nothing is left: what the server billed is what the ledger knows, and never more."""
    with Misbehaving(base=slow(0.01)) as server:
        options = asking(server, agents=20 * shards, ticks=2, shards=shards, experiment="e", model__max_tokens=20)
        options |= {"budget__experiment_tokens": 9_000, "budget__ledger": str(tmp_path / "ledger")}
        ends, told = [], []
        for nth in range(6):
            try:
                run(tmp_path / str(nth), **options)
                ends.append("complete")
            except BudgetSpent as error:
                ends.append("budget")
                told.append(str(error))
        billed = server.billed.tokens_in + server.billed.tokens_out
    entries = Ledger(tmp_path / "ledger").entries("e")
    assert not any(entry.open for entry in entries)
    assert billed <= sum(entry.spent.tokens for entry in entries) <= 9_000
    assert billed > 0.8 * 9_000
    assert "raise budget.experiment_tokens" in told[0]
    assert ends[0] == "complete"
    assert ends[-1] == "budget"
    first = read_manifest(tmp_path / "0")
    assert first["tokens_in"] + first["tokens_out"] in {entry.spent.tokens for entry in entries}
    assert first["settings"]["budget"]["tokens"] is None, "the manifest says what the user set"


def test_runs_side_by_side_and_one_that_is_killed(tmp_path):
    """Four processes at once; one is killed, keeps its booking, and gives it back only when it is told to."""
    ledger = tmp_path / "ledger.sqlite"
    with Misbehaving(base=slow(0.05)) as server:
        command = ["run", ASKERS, "--model", "openai", "--agents", "20"]
        assignments = {
            "experiment": "e", "arm": "a", "endpoint.base_url": server.base_url, "model.name": "test-model",
            "model.max_tokens": 20, "budget.tokens": 8000, "budget.experiment_tokens": 26_000,
            "budget.ledger": str(ledger),
        }  # fmt: skip
        for key, value in assignments.items():
            command += ["--set", f"{key}={value}"]
        crew = []
        for nth in range(4):
            ticks = "500" if nth == 0 else "3"
            out = ["--out", str(tmp_path / str(nth)), "--ticks", ticks]
            crew.append(Begun(*command, *out, cwd=tmp_path, stdout=subprocess.DEVNULL))
            while nth == 0 and len(server.seen) < 50 and crew[0].poll() is None:
                time.sleep(0.05)
            if nth == 0:
                crew[0].send_signal(signal.SIGKILL)
                crew[0].wait(timeout=240)
                time.sleep(0.3)
                billed_by_killed = server.billed.tokens_in + server.billed.tokens_out
        errors = [one.communicate(timeout=240)[1] for one in crew]
        billed = server.billed.tokens_in + server.billed.tokens_out
    assert {one.returncode for one in crew[1:]} <= {0, BudgetSpent.exit_code}, errors
    entries = Ledger(ledger).entries("e")
    assert billed <= sum(entry.booked.tokens for entry in entries) <= 26_000
    (killed,) = (entry for entry in entries if entry.open)
    assert killed.booked.tokens == 8_000
    assert not killed.is_at_work

    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(ledger.read_bytes())
    release = ["costs", "--ledger", str(copy), "--release"]
    unknown = populace(*release, "nobody", cwd=tmp_path)
    assert unknown.returncode == 2
    assert "does not stand in this file" in unknown.stderr
    done = populace(*release, str(tmp_path / "0"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = map(json.loads, done.stdout.splitlines())
    assert billed_by_killed <= row["spent_tokens"] < 8_000
    assert (row["state"], row["run"], row["arm"]) == ("ended", killed.run, "a")

    with Misbehaving(base=slow(0.01)) as server:
        resumed = populace("resume", "0", "--set", f"endpoint.base_url={server.base_url}", cwd=tmp_path)
        billed += server.billed.tokens_in + server.billed.tokens_out
    assert resumed.returncode == BudgetSpent.exit_code, resumed.stderr
    entries = Ledger(ledger).entries("e")
    assert not any(entry.open for entry in entries)
    (again,) = (entry for entry in entries if entry.run == killed.run)
    assert row["spent_tokens"] < again.spent.tokens <= 8_000
    assert billed <= 26_000


def test_a_run_at_work_cannot_be_released(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.reserve("e", "a", CEILING, UNLIMITED, folder=tmp_path)
    assert ledger.entries()[0].process == os.getpid()
    with pytest.raises(SettingsError, match="still at work"):
        ledger.release("a")


def test_a_run_that_cannot_begin_leaves_nothing_booked(tmp_path):
    """The server refuses the key: what was reserved comes back."""
    with Misbehaving(key="right") as server:
        options = asking(server, agents=4, ticks=1, experiment="e", budget__experiment_tokens=9_000)
        with pytest.raises(Exception, match="key"):
            here(tmp_path / "run", **options, budget__ledger=str(tmp_path / "ledger"))
    (entry,) = Ledger(tmp_path / "ledger").entries()
    assert not entry.open
    assert entry.spent == NOTHING
