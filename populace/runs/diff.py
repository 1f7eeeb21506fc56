"""Where two runs part, whom it touched, and what became of it: from their manifests and tables.

Everything is read a tick at a time, and nothing of the ticks before the trace hashes part.

What can differ in a tick, in the order in which it is looked for: a `lever`, an `ask` (its content) or an `answer` to
the same ask, a `failure` of a turn, an `action` (or what became of it), a `message`, a public `field`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from populace.core.errors import SettingsError
from populace.core.tables import TABLES
from populace.runs.courses import recorded_traces
from populace.settings import migrated
from populace.store.manifest import MANIFEST, read_manifest
from populace.store.tables.tables import read_table, table_files
from populace.store.tables.ticks import Differing, TickRows, differing

What: TypeAlias = Literal["lever", "ask", "answer", "failure", "action", "message", "field"]

_SHOWN_AGENTS: Final = 10


class Difference(msgspec.Struct, frozen=True):
    """The first thing in which two runs differ.

    `tick` is -1 for fields that differ before tick 0. `agent` is the one that asked, acted, sent or holds the field;
    for a message of the world (-1) its receiver. `nth` numbers asks, actions and messages of that agent and tick, else
    it is -1. `about` is the ask's purpose, the action's kind, the field's or the lever's name, or who sent the message.
    A text is None where that run has nothing there.
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
    `messages`, `actions`, `failures` and `levers` count rows, `fields` agents. `touched` are the agents in any of them,
    in this tick and so far; `agents` the first few of them.
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


class OutcomeDiff(msgspec.Struct, frozen=True):
    """An outcome of both runs at a tick, and b - a; None where a run has none."""

    tick: int
    name: str
    a: float | None
    b: float | None
    difference: float | None


class Diff(msgspec.Struct, frozen=True):
    """Two runs compared over the ticks that both have.

    `parted_at` is the first tick whose trace hash (or, where a run left none, whose rows) differs; None: none does.
    `world_parted_at` is the first tick after which the world's state differs, and `world_parts` the parts in which it
    does then; None also where a run left no hashes of it. `settings` holds those that differ, as (a, b). `notes` say
    what could not be compared.
    """

    a: str
    b: str
    ticks_a: int
    ticks_b: int
    parted_at: int | None
    first: Difference | None
    ticks: list[TickDiff]
    outcomes: list[OutcomeDiff]
    settings: dict[str, tuple[Any, Any]]
    notes: list[str]
    world_parted_at: int | None = None
    world_parts: list[str] = []

    @property
    def identical(self) -> bool:
        """Whether no tick that both runs have differs, neither in the trace nor in the world's state."""
        return self.parted_at is None and self.world_parted_at is None


def diff_runs(
    run_a: str | Path, run_b: str | Path, hashes_a: Sequence[str] | None = None, hashes_b: Sequence[str] | None = None
) -> Diff:
    """Compare two runs, given their folders; runs may be of different length, interrupted or killed.

    Of runs of different scenarios only settings and outcomes are compared.

    Trace hashes, one a tick, are those that the runs left unless they are given. Raises SettingsError for a folder that
    holds no run.
    """
    one, other = _Run(Path(run_a), hashes_a), _Run(Path(run_b), hashes_b)
    shared = min(one.ticks, other.ticks)
    (scenario_a, scenario_b), sizes = ([(run.manifest or {}).get(key) for run in (one, other)] for key in _IDENTITY)
    notes: list[str] = []
    if None not in sizes and sizes[0] != sizes[1]:
        notes.append(f"The runs are of different sizes: A has {sizes[0]:,} agents, B {sizes[1]:,}.")
    strangers = None not in (scenario_a, scenario_b) and scenario_a != scenario_b
    if strangers:
        notes.append(
            f"The runs are of different scenarios ({scenario_a} and {scenario_b}), so their settings and outcomes "
            "alone were compared."
        )
        parted, first_tick = 0, shared
    elif one.hashes is None or other.hashes is None:
        parted, first_tick = None, 0
        notes.append("A run left no trace hashes, so the tables alone were compared.")
    else:
        parted = next((t for t in range(shared) if one.hashes[t] != other.hashes[t]), None)
        first_tick = shared if parted is None else parted
    ticks: list[TickDiff] = []
    first: Difference | None = None
    if first_tick < shared:
        rows = _Both(one, other, shared, first_tick)
        notes += rows.notes
        so_far = np.empty(0, np.int64)
        for tick in range(-1 if first_tick == 0 else first_tick, shared):
            found = rows.take(tick)
            if first is None and found:
                first = rows.first(tick, found)
                parted = max(tick, 0) if parted is None else parted
            touched = found.touched()
            so_far = np.union1d(so_far, touched)
            if tick >= 0 or found:
                ticks.append(found.counted(tick, touched, len(so_far)))
        if parted is None:
            ticks = []
        elif first is None:
            notes.append("The tables of both runs agree, so what differs is in none that both kept (record.*).")
    world = None if strangers else one.world.difference(other.world)
    if not strangers and bool(one.world.hashes) != bool(other.world.hashes):
        which = "B" if one.world.hashes else "A"
        notes.append(f"{which} left no hashes of the world's state, so that was not compared.")
    return Diff(
        a=str(run_a),
        b=str(run_b),
        ticks_a=one.ticks,
        ticks_b=other.ticks,
        parted_at=parted,
        first=first,
        ticks=ticks,
        outcomes=_outcomes(one.folder, other.folder),
        settings=_settings(one.manifest, other.manifest),
        notes=notes,
        world_parted_at=None if world is None else world[0],
        world_parts=[] if world is None else world[1],
    )


def first_difference(
    run_a: str | Path, run_b: str | Path, hashes_a: Sequence[str] | None = None, hashes_b: Sequence[str] | None = None
) -> Difference | None:
    """The first thing in which two runs differ, in the ticks that both have; None where their tables show none.

    Reads only as far as that. See `diff_runs`.
    """
    one, other = _Run(Path(run_a), hashes_a), _Run(Path(run_b), hashes_b)
    shared = min(one.ticks, other.ticks)
    start = 0
    if one.hashes is not None and other.hashes is not None:
        start = next((t for t in range(shared) if one.hashes[t] != other.hashes[t]), shared)
    if start == shared:
        return None
    rows = _Both(one, other, shared, start)
    for tick in range(-1 if start == 0 else start, shared):
        if found := rows.take(tick):
            return rows.first(tick, found)
    return None


class _Run:
    """One of the two: how far it came, and whether its messages all have their fates."""

    def __init__(self, folder: Path, hashes: Sequence[str] | None) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder) if (folder / MANIFEST).exists() else None
        recorded, self.world = recorded_traces(folder)
        self.hashes = hashes = (recorded or None) if hashes is None else hashes
        self.ticks = _ticks_of(folder) if hashes is None else len(hashes)
        self.ended = (folder / "messages.parquet").exists()


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


_KINDS: Final = {name: TABLES[name] for name in ("levers", "asks", "failures", "actions", "messages", "agents")}
"""What is compared, in the order in which a first difference is looked for."""
_IDENTITY: Final = ("scenario", "agents")  # of the manifest
_WHERE: Final = r" \([^()]*:\d+ in [^()]*\)$"  # a failure stays the same one where lines or files have moved


class _Found:
    """What differs in one tick, by table: the rows of both runs, and in which they differ."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[Any, Any, Differing]] = {}

    def __bool__(self) -> bool:
        return bool(self.rows)

    def count(self, name: str) -> int:
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
        )


class _Both:
    """The tables of two runs, side by side, tick by tick from `first` on, over `ticks` ticks."""

    def __init__(self, one: _Run, other: _Run, ticks: int, first: int) -> None:
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
            elif rows[0].files or rows[1].files:
                self.notes.append(f"Only {'A' if rows[0].files else 'B'} has a table of {name}.")

    def take(self, tick: int) -> _Found:
        """What differs in a tick; -1 stands for what was there before tick 0."""
        found = _Found()
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

    def first(self, tick: int, found: _Found) -> Difference:
        """Name the first difference of a tick in which there is one."""
        name = next(name for name in _KINDS if name in found.rows)
        a, b, which = found.rows[name]
        pairs: list[tuple[int | None, int | None]] = [
            *((row, None) for row in which.only_a.tolist()),
            *((None, row) for row in which.only_b.tolist()),
            *zip(which.a.tolist(), which.b.tolist(), strict=True),
        ]

        places = _places(a, b, which, _KINDS[name].identity)
        at = min(range(len(pairs)), key=places.__getitem__)
        one = None if pairs[at][0] is None else a.slice(pairs[at][0], 1).to_pylist()[0]
        other = None if pairs[at][1] is None else b.slice(pairs[at][1], 1).to_pylist()[0]
        return self._named(tick, name, one, other)

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


def _outcomes(run_a: Path, run_b: Path) -> list[OutcomeDiff]:
    sides = []
    for run in (run_a, run_b):
        table = read_table(run, "outcomes") if table_files(run, "outcomes") else pa.table({})
        columns = table.to_pydict() or {"tick": [], "name": [], "value": []}
        sides.append(dict(zip(zip(columns["tick"], columns["name"], strict=True), columns["value"], strict=True)))
    names = list(dict.fromkeys(name for side in sides for _, name in side))
    rows = []
    for tick in sorted({tick for side in sides for tick, _ in side}):
        for name in names:
            a, b = (side.get((tick, name)) for side in sides)
            if a is not None or b is not None:
                rows.append(OutcomeDiff(tick, name, a, b, None if a is None or b is None else b - a))
    return rows


def _settings(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> dict[str, tuple[Any, Any]]:
    if a is None or b is None:
        return {}
    one, other = (dict(_leaves(migrated(manifest["settings"]))) for manifest in (a, b))
    keys = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    return {key: (one.get(key), other.get(key)) for key in keys}


def _leaves(values: Mapping[str, Any], at: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        found += _leaves(value, f"{at}{key}.") if isinstance(value, Mapping) and value else [(f"{at}{key}", value)]
    return found
