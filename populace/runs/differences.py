"""What differs between the tables of two runs, tick by tick, and which of it came first.

What can differ in a tick, in the order of causes, in which it is looked for: a `lever`; within a turn an `ask` (its
content) or an `answer` to the same ask, what was said and heard in a `round`, a `failure` of the turn, a public
`field`, and what the turn did, in the order in which it did it (a `message`, an `action`); then what became of these,
what parts of the world asked, and what the world sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from populace.core.errors import SettingsError
from populace.core.tables import TABLES
from populace.runs.courses import recorded_traces
from populace.store.manifest import MANIFEST, read_manifest
from populace.store.tables.tables import table_files
from populace.store.tables.ticks import Differing, TickRows, differing

What: TypeAlias = Literal["lever", "ask", "answer", "round", "failure", "action", "message", "field"]

_SHOWN_AGENTS: Final = 10


class Difference(msgspec.Struct, frozen=True):
    """The first thing in which two runs differ.

    `tick` is -1 for fields that differ before tick 0. `agent` is the one that asked, acted, sent or holds the field;
    for a message of the world (-1) its receiver. `nth` numbers asks, contributions to rounds, actions and messages of
    that agent and tick, else it is -1. `about` is the ask's purpose, the round's part, group and number, the action's
    kind, the field's or the lever's name, or who sent the message. A text is None where that run has nothing there.
    """

    tick: int
    agent: int
    what: What
    text_a: str | None
    text_b: str | None
    nth: int = -1
    about: str = ""


class TickDiff(msgspec.Struct, frozen=True):
    """What differs in one tick.

    Asks of the same agent and place: `asks_other` have another content, `answers_other` the same and another answer.
    `messages`, `actions`, `rounds` (contributions), `failures` and `levers` count rows, `fields` agents. `touched` are
    the agents in any of them, in this tick and so far; `agents` the first few of them.
    """

    tick: int
    touched: int
    touched_so_far: int
    agents: list[int]
    asks_other: int
    asks_only_a: int
    asks_only_b: int
    answers_other: int
    messages: int
    actions: int
    failures: int
    levers: int
    fields: int
    rounds: int = 0


class ComparedRun:
    """One of the two: how far it came, and whether its messages all have their fates."""

    def __init__(self, folder: Path, hashes: Sequence[str] | None) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder) if (folder / MANIFEST).exists() else None
        recorded, self.world = recorded_traces(folder)
        self.hashes = hashes = (recorded or None) if hashes is None else hashes
        self.ticks = _ticks_of(folder) if hashes is None else len(hashes)
        self.ended = table_files(folder, "messages") == [folder / "messages.parquet"] and _all_fated(self.manifest)


def _all_fated(manifest: Mapping[str, Any] | None) -> bool:
    """Whether every message of a run has its fate, so that it is in the table."""
    of = (manifest or {}).get("messages", {})
    return bool(of) and of["sent"] == of["delivered"] + of["expired"] + of["refused"]


def _ticks_of(folder: Path) -> int:
    """How many ticks the tables of a run hold, where nothing else says so."""
    for name, before in (("outcomes", 0), ("agents", 0), ("asks", 1)):
        if files := table_files(folder, name):
            last = [pc.max(pq.read_table(files[-1], columns=["tick"]).column("tick")).as_py()]
            if last[0] is not None:
                return int(last[0]) + before
    raise SettingsError(
        f"{folder}: there is no run to compare: no {MANIFEST}, and no tables of a tick. Give the folder that a run was "
        "told with --out; one that was killed before its first checkpoint can be resumed first."
    )


_KINDS: Final = {
    name: TABLES[name] for name in ("levers", "asks", "rounds", "failures", "actions", "messages", "agents")
}
"""What is compared."""
_BEFORE_DEEDS: Final = ("levers", "asks", "rounds", "failures", "agents")
_WHERE: Final = r" \([^()]*:\d+ in [^()]*\)$"  # a failure stays the same one where lines or files have moved


class TickDifferences:
    """What differs in one tick, by table: the rows of both runs, and in which they differ."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[Any, Any, Differing]] = {}

    def __bool__(self) -> bool:
        return bool(self.rows)

    def count(self, name: str) -> int:
        """How many rows of a table differ."""
        return len(self.rows[name][2]) if name in self.rows else 0

    def touched(self) -> NDArray[np.int64]:
        """The agents whose rows differ, sorted; of a message of the world, its receiver."""
        found = [np.empty(0, np.int64)]
        for name, (a, b, which) in self.rows.items():
            for table, places in ((a, (which.only_a, which.a)), (b, (which.only_b, which.b))):
                if table is not None:
                    rows = np.concatenate(places)
                    who = table.column(_KINDS[name].identity[0]).to_numpy()[rows]
                    if name == "messages":
                        who = np.where(who < 0, table.column("receiver").to_numpy()[rows], who)
                    found.append(who.astype(np.int64))
        agents = np.unique(np.concatenate(found))
        return agents[agents >= 0]

    def counted(self, tick: int, touched: NDArray[np.int64], so_far: int) -> TickDiff:
        """What differs, counted, given the agents touched in this tick and how many there are so far."""
        asks = self.rows["asks"][2] if "asks" in self.rows else None
        other = 0 if asks is None else int(np.sum(asks.columns.get("key", np.empty(0))))
        return TickDiff(
            tick=tick,
            touched=len(touched),
            touched_so_far=so_far,
            agents=touched[:_SHOWN_AGENTS].tolist(),
            asks_other=other,
            asks_only_a=0 if asks is None else len(asks.only_a),
            asks_only_b=0 if asks is None else len(asks.only_b),
            answers_other=0 if asks is None else len(asks.a) - other,
            messages=self.count("messages"),
            actions=self.count("actions"),
            failures=self.count("failures"),
            levers=self.count("levers"),
            fields=self.count("agents"),
            rounds=self.count("rounds"),
        )


class ComparedTables:
    """The tables of two runs, side by side, tick by tick from `first` on, over `ticks` ticks."""

    def __init__(self, one: ComparedRun, other: ComparedRun, ticks: int, first: int) -> None:
        self._folders = (one.folder, other.folder)
        self._last = ticks - 1
        self._messages_to = ticks if one.ended and other.ended else ticks - 1
        self._fates_to = ticks if one.ended and other.ended and one.ticks == other.ticks else ticks - 1
        self.notes: list[str] = []
        self._tables: dict[str, tuple[TickRows, TickRows]] = {}
        kept = [(run.manifest or {}).get("settings", {}).get("record", {}).get("agents") for run in (one, other)]
        for name, kind in _KINDS.items():
            columns = None if name == "agents" else (kind.tick, *kind.identity, *kind.named(compared=True, shown=True))
            begin = first + kind.late if first else 0
            rows = (
                TickRows(one.folder, name, kind.tick, columns, begin),
                TickRows(other.folder, name, kind.tick, columns, begin),
            )
            if name == "agents" and None not in kept and kept[0] != kept[1]:
                self.notes.append(f"The runs keep agents differently (record.agents {kept[0]} and {kept[1]}).")
            elif name == "agents" and _foreign(rows):
                self.notes.append("The agents of the two runs have no public field in common.")
            elif (rows[0].files and rows[1].files) or kind.record is None:  # a part without rows is not there
                self._tables[name] = rows
            elif any(pq.read_metadata(path).num_rows for one in rows for path in one.files):
                self.notes.append(f"Only {'A' if rows[0].files else 'B'} has a table of {name}.")

    def take(self, tick: int) -> TickDifferences:
        """What differs in a tick; -1 stands for what was there before tick 0."""
        found = TickDifferences()
        for name, rows in self._tables.items():
            kind = _KINDS[name]
            if (tick < 0 and not kind.late) or (name == "messages" and tick >= self._messages_to):
                continue
            a, b = (one.take(tick + kind.late) for one in rows)
            if a is None and b is None:
                continue
            columns: Sequence[str] = kind.named(compared=True)
            if name == "failures":
                a, b = (_without_place(one) for one in (a, b))
            if name == "agents":
                columns = [column for column in (a or b).column_names if column not in ("tick", "agent")]
                if a is not None and b is not None:
                    columns = [column for column in columns if column in b.column_names]
                    a, b = (one.select(["tick", "agent", *columns]) for one in (a, b))
            elif name == "messages" and tick >= self._fates_to:
                columns = [column for column in columns if column != "fate"]
                a, b = (None if one is None else one.drop_columns(["fate"]) for one in (a, b))
            which = _levers(a, b) if name == "levers" else differing(a, b, kind.identity, columns)
            if len(which):
                found.rows[name] = (a, b, which)
        return found

    def first(self, tick: int, found: TickDifferences) -> Difference:
        """Name the first difference of a tick in which there is one."""
        candidates: list[tuple[int, tuple[int, ...], int, str]] = []
        for name, (a, b, which) in found.rows.items():
            places = _places(a, b, which, _KINDS[name].identity)
            candidates.append((*min(zip(_ranks(name, which, places), places, range(len(places)), strict=True)), name))
        earliest = min(candidates, key=lambda one: one[:2])
        named = [
            self._named(tick, name, *_rows_at(*found.rows[name], at))
            for rank, place, at, name in candidates
            if (rank, place) == earliest[:2]
        ]
        if len(named) == 1:
            return named[0]
        one, other = sorted(named, key=lambda deed: deed.text_a is None)  # at one place a message, and an action now
        return msgspec.structs.replace(one, text_b=f"{other.what}: {other.text_b}")

    def _named(self, tick: int, name: str, a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> Difference:
        row = a or b
        assert row is not None
        agent, nth, about = row.get("agent", row.get("sender", -1)), row.get("nth", -1), ""
        what: What = "lever"
        texts: list[str | None]
        match name:
            case "levers":
                about = row["lever"]
                texts = [None if one is None else one["what"] for one in (a, b)]
            case "asks":
                about = row["purpose"]
                if a is not None and b is not None and a["key"] == b["key"]:
                    what, texts = "answer", [_answer(one) for one in (a, b)]
                else:
                    what = "ask"
                    sides = zip(self._folders, (a, b), strict=True)
                    texts = [None if one is None else _prompt(folder, tick, agent, nth) for folder, one in sides]
            case "rounds":
                what, about = "round", f"{row['part']}, group {row['group']}, round {row['round']}"
                texts = [None if one is None else f"said {one['said']}, heard {one['heard']}" for one in (a, b)]
            case "failures":
                what, texts = "failure", [None if one is None else one["error"] for one in (a, b)]
            case "actions":
                what, about = "action", row["kind"]
                texts = [None if one is None else f"{one['kind']} {one['args']} ({one['fate']})" for one in (a, b)]
            case "messages":
                what, about = "message", "the world" if agent < 0 else f"agent {agent}"
                agent = row["receiver"] if agent < 0 else agent
                texts = [_message(one) for one in (a, b)]
            case _:
                what = "field"
                fields = [key for key in row if key not in ("tick", "agent")]
                about = next((key for key in fields if a is None or b is None or a[key] != b[key]), "")
                texts = [None if one is None else json.dumps(one.get(about), ensure_ascii=False) for one in (a, b)]
        text_a, text_b = texts
        return Difference(tick, agent, what, text_a, text_b, nth, about)


def _foreign(agents: Sequence[TickRows]) -> bool:
    """Whether the agents of two runs have public fields, and none of one is one of the other."""
    a, b = (
        {name for path in rows.files[:1] for name in pq.read_schema(path).names} - {"tick", "agent"} for rows in agents
    )
    return bool(a and b) and not a & b


def _rows_at(a: Any, b: Any, which: Differing, at: int) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """The rows of both runs at a place of `_places`."""
    rows_a = [*which.only_a.tolist(), *(None for _ in which.only_b), *which.a.tolist()]
    rows_b = [*(None for _ in which.only_a), *which.only_b.tolist(), *which.b.tolist()]
    one, other = (
        None if rows[at] is None else table.slice(rows[at], 1).to_pylist()[0]
        for table, rows in ((a, rows_a), (b, rows_b))
    )
    return one, other


def _ranks(name: str, which: Differing, places: Sequence[tuple[int, ...]]) -> list[int]:
    """How early each row's difference stands in the order of causes, in the order of `_places`."""
    deed = len(_BEFORE_DEEDS)
    if name == "asks":  # the world asks once the actions are there
        return [deed + 2 if place[0] < 0 else _BEFORE_DEEDS.index(name) for place in places]
    if name not in ("messages", "actions"):
        return [_BEFORE_DEEDS.index(name)] * len(places)
    both = len(which.a)
    said = [mask for column, mask in which.columns.items() if column != "fate"]
    fated = ~np.any(said, axis=0) if said else np.ones(both, np.bool_)
    ranks = [*(deed for _ in range(len(places) - both)), *(deed + fated.astype(int)).tolist()]
    if name == "messages":
        ranks = [deed + 3 if place[0] < 0 else rank for rank, place in zip(ranks, places, strict=True)]
    return ranks


def _places(a: Any, b: Any, which: Differing, identity: Sequence[str]) -> list[tuple[int, ...]]:
    """What stands in `identity` for the rows only in a, only in b, and in both, in this order."""
    columns = []
    for column in identity:
        one, other = (np.empty(0, np.int64) if table is None else table.column(column).to_numpy() for table in (a, b))
        columns.append(np.concatenate((one[which.only_a], other[which.only_b], one[which.a])).tolist())
    return list(zip(*columns, strict=True))


def _without_place(failures: Any) -> Any:
    if failures is None:
        return None
    at = failures.column_names.index("error")
    return failures.set_column(at, "error", pc.replace_substring_regex(failures.column("error"), _WHERE, ""))


def _levers(a: Any, b: Any) -> Differing:
    """Compare rows of the table of levers, of which several may be about one agent: as a whole, in any order."""
    sides = [
        [] if table is None else list(zip(*table.select(["agent", "lever", "what"]).to_pydict().values(), strict=True))
        for table in (a, b)
    ]
    sets = [set(side) for side in sides]
    only = [
        np.array([row for row, what in enumerate(side) if what not in others], np.intp)
        for side, others in zip(sides, reversed(sets), strict=True)
    ]
    none = np.empty(0, np.intp)
    return Differing(only[0], only[1], none, none, {})


def _answer(ask: Mapping[str, Any]) -> str:
    return f"(abstained: {ask['reason']})" if ask["answer"] is None else str(ask["answer"])


def _prompt(folder: Path, tick: int, agent: int, nth: int) -> str:
    """The text of one ask, from the row groups that hold its tick."""
    here = [("tick", "=", tick), ("agent", "=", agent), ("nth", "=", nth)]
    for path in table_files(folder, "asks"):
        rows = pq.read_table(path, columns=["prompt"], filters=here).column("prompt").to_pylist()
        if rows:
            return "\n".join(f"{said['role']}: {said['content']}" for said in json.loads(rows[0]))
    raise SettingsError(f"{folder}: its table of asks changed while it was read. Is the run still at work? Try again.")


def _message(row: Mapping[str, Any] | None) -> str | None:
    if row is None:
        return None
    to = "the world" if row["receiver"] < 0 else f"agent {row['receiver']}"
    fate = f" ({row['fate']})" if "fate" in row else ""
    return f"to {to}{fate}: {row['body']}"
