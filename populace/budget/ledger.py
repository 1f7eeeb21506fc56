"""The ledger of an experiment: one hard ceiling over many runs, in a file that they share.

A run that begins reserves what it may spend in all: its own ceiling, or what the experiment has left when
that is less. While it goes on, all of its reservation is booked; when it has ended, only what it spent. So at every
moment, over all runs that name the same file and experiment,

    spent by runs that ended + reserved by runs that are open <= ceiling

whatever happens to a run. Before a run may spend more, it marks here what it may then have spent at most (in steps of
a 64th of its reservation), so one that was killed has a bound: it stays open, with all of its reservation booked, until
it is resumed (it takes its own reservation up again, less what it may have spent) or given back (`release`).

A run without a ceiling of its own reserves all there is, and others find nothing left until it has ended: give runs
that go side by side a ceiling each (`budget.usd`).

What a run spent comes from its account (`populace.budget.amounts`), in which a call whose fate is unknown counts
as its worst case. The file is SQLite's, one transaction a change, each behind the one lock for writing: any number of
processes on machines that share the file may use it (over NFS only where its locks work). Shell: files, processes.
"""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from populace.budget.accounts import roles_of
from populace.budget.amounts import NOTHING, PICO_USD, UNLIMITED, Amount, Rate, ceiling
from populace.budget.prices import rate_of
from populace.budget.service import Mark
from populace.core.errors import BudgetSpent, PopulaceError, SettingsError, StorageError
from populace.settings import Settings

_LOCK_S: Final = 60.0
"""How long to wait while other processes write."""

_STEP_PICO_USD: Final = 10**6
"""Reservations are whole millionths of a dollar, which settings carry as a decimal without loss."""

_SHARED: Final = ("budget.experiment_usd", "budget.experiment_tokens")

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS runs (
    experiment TEXT NOT NULL,
    run TEXT NOT NULL,
    arm TEXT NOT NULL,
    folder TEXT NOT NULL,
    host TEXT NOT NULL,
    process INTEGER NOT NULL,
    process_began_s REAL NOT NULL,
    changed TEXT NOT NULL,
    open INTEGER NOT NULL,
    reserved_tokens INTEGER NOT NULL,
    reserved_pico_usd INTEGER NOT NULL,
    spent_tokens INTEGER NOT NULL,
    spent_pico_usd INTEGER NOT NULL,
    PRIMARY KEY (experiment, run)
)
"""


class Entry(msgspec.Struct, frozen=True):
    """One run in a ledger. `reserved` counts while it is `open`, `spent` once it has ended; `changed` is UTC.

    While it is open, `spent` is what it may have spent at most.
    """

    experiment: str
    run: str
    arm: str
    folder: str
    host: str
    process: int
    process_began_s: float
    changed: str
    open: bool
    reserved: Amount
    spent: Amount

    @property
    def booked(self) -> Amount:
        """What this run takes of the experiment's ceiling now."""
        return self.reserved if self.open else self.spent

    @property
    def is_at_work(self) -> bool:
        """Whether the process that opened it is known to run: it can be told on its own machine only."""
        if self.host != socket.gethostname():
            return False
        try:
            return bool(abs(psutil.Process(self.process).create_time() - self.process_began_s) < 5.0)
        except psutil.Error:
            return False


class Booking:
    """What `reserve` gives: `settings` are the run's with the ceiling that it must keep; `settle` it at the end.

    `spent` is what the run is booked as having spent before, when it is resumed: its account begins with that.
    `bounds` are the settings whose ceilings the run must keep.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger | None = None,
        run: str = "",
        spent: Amount = NOTHING,
        bounds: tuple[str, ...] = (),
    ) -> None:
        self.settings = settings
        self.spent = spent
        self.bounds = bounds
        self._ledger = ledger
        self._run = run

    def explained(self, error: PopulaceError) -> PopulaceError:
        """The error; where the run reached a ceiling, it names the settings that make it, the experiment's too."""
        if self._ledger is None or not isinstance(error, BudgetSpent):
            return error
        shared = [name for name in self.bounds if name in _SHARED]
        whole = (
            (
                f" {' and '.join(shared)} {'bounds' if len(shared) == 1 else 'bound'} all runs of experiment "
                f"{self.settings.experiment!r} together: what runs that end give back is there to be spent, too."
            )
            if shared
            else ""
        )
        return BudgetSpent(
            "the run's budget is spent: the worst case of the next call does not fit under the ceiling. Everything up "
            f"to the last whole tick is saved.{whole} To go on, raise {' or '.join(self.bounds)} (--set) and resume "
            "the run."
        )

    def settle(self, spent: Amount | None) -> None:
        """The run has ended and spent so much in all; the rest of its reservation is free.

        None: nobody knows what it spent, so all of it stays booked, as if the run had been killed. Raises StorageError.
        """
        if self._ledger is not None and spent is not None:
            self._ledger.settle(self.settings.experiment, self._run, spent.at_least(self.spent))


def reserve(settings: Settings, run: str, folder: Path) -> Booking:
    """Reserve for a run, by its name (its own, kept when it is resumed), before it makes its first call.

    Where no ceiling of an experiment is set, or no model is asked, this does nothing. Raises
    BudgetSpent where the experiment has nothing left, SettingsError for settings that do not fit together, and
    StorageError for a file that cannot be used.
    """
    budget = settings.budget
    if not _is_bounded(settings):
        return Booking(settings)
    if budget.ledger is None or not settings.experiment:
        raise SettingsError(
            "budget.experiment_usd and budget.experiment_tokens need a name in `experiment`, and in "
            "budget.ledger a file that all runs of the experiment share, such as ledger.sqlite."
        )
    for role in roles_of(settings) if budget.experiment_usd is not None else ():
        of_role = settings.of_role(role)
        if rate_of(of_role) == Rate() and not of_role.model.asks_nobody:
            raise SettingsError(
                f"budget.experiment_usd is set and no price is known for {of_role.model.label!r}: put its price "
                f"into budget.prices.{of_role.model.label}, or limit budget.experiment_tokens instead."
            )
    ledger = Ledger(budget.ledger)
    whole = ceiling(budget.experiment_usd, budget.experiment_tokens)
    own = ceiling(budget.usd, budget.tokens)
    granted, spent = ledger.reserve(settings.experiment, run, whole, own, settings.arm, folder)
    changes: dict[str, Any] = {
        "ledger": budget.ledger.resolve(),
        "usd": budget.usd if granted.pico_usd == UNLIMITED.pico_usd else granted.usd,
        "tokens": budget.tokens if granted.tokens == UNLIMITED.tokens else granted.tokens,
    }
    bounds = (
        *_bounds("usd", granted.pico_usd, own.pico_usd, UNLIMITED.pico_usd),
        *_bounds("tokens", granted.tokens, own.tokens, UNLIMITED.tokens),
    )
    bounded = settings.model_copy(update={"budget": budget.model_copy(update=changes)})
    return Booking(bounded, ledger, run, spent, bounds)


def _bounds(name: str, granted: int, own: int, unlimited: int) -> tuple[str, ...]:
    """The setting that a run's ceiling of money or tokens comes from; none where there is no ceiling."""
    if granted == unlimited:
        return ()
    rounded_off = own - granted < (_STEP_PICO_USD if name == "usd" else 1)
    return (f"budget.{'' if rounded_off else 'experiment_'}{name}",)


class Ledger:
    """A ledger's file. Every method is one transaction and raises StorageError for a file that cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def reserve(
        self, experiment: str, run: str, whole: Amount, own: Amount, arm: str = "", folder: Path | None = None
    ) -> tuple[Amount, Amount]:
        """Book as much of `own` for a run as `whole` has left: what it may spend in all; and what it spent.

        A run that is known takes its booking up again, which may then grow or shrink, never below what it has spent.
        Raises BudgetSpent, and books nothing new, where nothing is left for it to spend.
        """
        with self._writing() as base:
            entries = _entries(base, experiment)
            others = sum((entry.booked for entry in entries if entry.run != run), NOTHING)
            before = next((entry.spent for entry in entries if entry.run == run), NOTHING)
            money = _left(own.pico_usd, whole.pico_usd, others.pico_usd)
            if money < UNLIMITED.pico_usd:
                money -= money % _STEP_PICO_USD
            granted = Amount(_left(own.tokens, whole.tokens, others.tokens), money)
            if granted.tokens <= before.tokens or granted.pico_usd <= before.pico_usd:
                raise BudgetSpent(self._nothing_left(experiment, run, whole, own, entries))
            process = psutil.Process()
            base.execute(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?)",
                (
                    experiment,
                    run,
                    arm,
                    str((folder or Path()).resolve()),
                    socket.gethostname(),
                    process.pid,
                    process.create_time(),
                    _now(),
                    granted.tokens,
                    granted.pico_usd,
                    before.tokens,
                    before.pico_usd,
                ),
            )
        return granted, before

    def mark(self, experiment: str, run: str, spent: Amount) -> None:
        """Keep that an open run may have spent so much in all; it never sinks."""
        with self._writing() as base:
            marked = base.execute(
                "UPDATE runs SET changed = ?, spent_tokens = max(spent_tokens, ?), "
                "spent_pico_usd = max(spent_pico_usd, ?) WHERE experiment = ? AND run = ? AND open",
                (_now(), *_parts(spent), experiment, run),
            )
            if not marked.rowcount:
                raise StorageError(
                    f"{self.path}: run {run} of experiment {experiment!r} is not open there, so it may not spend: it "
                    "was released, or the file was replaced. Resume the run to reserve anew."
                )

    def settle(self, experiment: str, run: str, spent: Amount) -> None:
        """Close a run's booking: from now on it takes what it spent in all."""
        with self._writing() as base:
            base.execute(
                "UPDATE runs SET open = 0, changed = ?, spent_tokens = ?, spent_pico_usd = ? "
                "WHERE experiment = ? AND run = ?",
                (_now(), *_parts(spent), experiment, run),
            )

    def release(self, run: str) -> list[Entry]:
        """Close the bookings that a killed run left open; `run` is its name, or its folder. Gives them as they are now.

        They keep what it may have spent at most. Raises SettingsError where there is no such open run, and where it is
        still at work on this machine.
        """
        folder = str(Path(run).resolve())
        named = [entry for entry in self.entries() if run == entry.run or folder == entry.folder]
        open_ones = [entry for entry in named if entry.open]
        if not open_ones:
            why = "has ended, and only what it spent is booked" if named else "does not stand in this file"
            raise SettingsError(f"{self.path}: {run} {why}. `populace costs --ledger {self.path}` lists the runs.")
        for entry in open_ones:
            if entry.is_at_work:
                raise SettingsError(
                    f"{entry.folder}: this run is still at work (process {entry.process}). Stop it first; then it "
                    "gives back what it did not spend by itself."
                )
            self.settle(entry.experiment, entry.run, entry.spent)
        keys = {(entry.experiment, entry.run) for entry in open_ones}
        return [entry for entry in self.entries() if (entry.experiment, entry.run) in keys]

    def entries(self, experiment: str | None = None) -> list[Entry]:
        """The runs of one experiment, or of all, by experiment and name."""
        if not self.path.exists():
            raise SettingsError(f"{self.path}: there is no such file. Give the one that budget.ledger names.")
        with self._writing() as base:
            return _entries(base, experiment)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that nobody else writes beside; undone whole when the block raises."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=_LOCK_S, isolation_level=None)) as base:
                base.execute("PRAGMA synchronous = FULL")
                base.execute("BEGIN IMMEDIATE")
                try:
                    base.execute(_TABLE)
                    yield base
                except BaseException:
                    base.execute("ROLLBACK")
                    raise
                base.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                f"{self.path}: the experiment's ledger cannot be used ({error}). See that its folder is writable and "
                "that it is the file that budget.ledger has named before; without it no run may spend."
            ) from error

    def _nothing_left(self, experiment: str, run: str, whole: Amount, own: Amount, entries: list[Entry]) -> str:
        others = [entry for entry in entries if entry.run != run]
        open_ones = [entry.folder for entry in others if entry.open]
        shown = ", ".join(open_ones[:3]) + (", ..." if len(open_ones) > 3 else "")
        spent = sum((entry.spent for entry in entries if not entry.open), NOTHING)
        reserved = sum((entry.reserved for entry in others if entry.open), NOTHING)
        return (
            f"nothing is left for this run: the ceiling of experiment {experiment!r} is {amount_text(whole)} and the "
            f"run's own {amount_text(own)}; runs that ended spent {amount_text(spent)}, and runs that are open hold "
            f"{amount_text(reserved)}{f' ({shown})' if shown else ''}. Wait for those or, if they were killed, resume "
            f"them or give their money back (populace costs --ledger {self.path} --release RUN); or raise "
            "budget.experiment_usd or budget.experiment_tokens, whichever is set."
        )


def _left(own: int, whole: int, others: int) -> int:
    """How much of `own` there is; a ceiling that is none is not used up by anybody."""
    return own if whole == UNLIMITED.tokens else min(own, max(0, whole - others))


def marker(settings: Settings, run: str) -> Mark | None:
    """What a run's account tells what it may have spent; None where it has no booking. See `reserve`."""
    budget = settings.budget
    if not _is_bounded(settings) or budget.ledger is None:
        return None
    return partial(Ledger(budget.ledger).mark, settings.experiment, run)


def _is_bounded(settings: Settings) -> bool:
    budget = settings.budget
    limited = budget.experiment_usd is not None or budget.experiment_tokens is not None
    return limited and not settings.asks_nobody


def _parts(amount: Amount) -> tuple[int, int]:
    """As columns: whole numbers of 64 bits."""
    return amount.tokens, amount.pico_usd


def amount_text(amount: Amount) -> str:
    """An amount for a person: '$1.50', '2,000 tokens', '$1.50 and 2,000 tokens', 'no limit'."""
    parts = []
    if amount.pico_usd < UNLIMITED.pico_usd:
        parts.append(f"${amount.pico_usd / PICO_USD:,.6g}")
    if amount.tokens < UNLIMITED.tokens:
        parts.append(f"{amount.tokens:,} tokens")
    return " and ".join(parts) or "no limit"


def _entries(base: sqlite3.Connection, only: str | None) -> list[Entry]:
    rows = base.execute(
        "SELECT experiment, run, arm, folder, host, process, process_began_s, changed, open, reserved_tokens, "
        "reserved_pico_usd, spent_tokens, spent_pico_usd FROM runs WHERE ? IS NULL OR experiment = ? "
        "ORDER BY experiment, run",
        (only, only),
    )
    found = []
    for *plain, is_open, tokens, money, spent_tokens, spent_money in rows:
        experiment, run, arm, folder, host, process, process_began_s, changed = plain
        reserved, spent = Amount(tokens, money), Amount(spent_tokens, spent_money)
        found.append(
            Entry(experiment, run, arm, folder, host, process, process_began_s, changed, bool(is_open), reserved, spent)
        )
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
