"""What is kept of probes in a run's folder: `probes/`, apart from all that makes the run.

`probes/journal/` holds what was answered, so that what is asked again costs nothing; `probes/NAME/` a part for each
wave of a survey, and `probes/NAME.parquet` all of its waves. Shell: files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from populace.agents.probes.declared import instrument_of, plain
from populace.agents.probes.instrument import Instrument
from populace.core.errors import SettingsError, StorageError
from populace.core.records import Counts, Purpose
from populace.files import naming, sync_folder
from populace.kernel.snapshot import Past
from populace.store.journal.read import read_journal
from populace.store.journal.recording import billed_in
from populace.store.storage import make_folder
from populace.store.tables.files import SCHEMA, check_schema

PROBES: Final = "probes"
"""The folder of a run that holds its probes."""
JOURNAL: Final = "journal"
_VERSION: Final = "1"
_PART: Final = re.compile(r"t(\d{8,})-r(\d{3,})\.parquet")
_INSTRUMENT: Final = b"populace.instrument"
_COLUMNS: Final = (
    ("agent", pa.int32(), "agent's id"),
    ("tick", pa.int32(), "tick before which it was asked"),
    ("wave", pa.int32(), "number of the wave, from 0"),
    ("item", pa.string(), "item of the instrument"),
    ("answer", pa.float64(), "answer as a number; null for a text, several options or an order"),
    ("label", pa.string(), "what was said: a label, a text, or a list of options as JSON"),
    ("order", pa.list_(pa.string()), "options in the order in which they were shown; null where there are none"),
    ("abstained", pa.string(), "why there is no answer"),
    ("weight", pa.float64(), "weight of the agent"),
)  # fmt: skip


class Reply(msgspec.Struct, frozen=True):
    """A row of a survey's table: the answer of one agent to one item; `abstained` is None where there is one."""

    agent: int
    item: str
    answer: float | None
    label: str | None
    order: tuple[str, ...]
    abstained: str | None
    weight: float


class Asked(msgspec.Struct, frozen=True):
    """A survey's table as it stands, and its instrument."""

    name: str
    instrument: Instrument
    table: Any


def probes_of(run: Path) -> Path:
    """Where a run's probes are kept."""
    return run / PROBES


def table_path(folder: Path, name: str) -> Path:
    """The file of a survey's table."""
    return folder / f"{name}.parquet"


def surveys_in(folder: Path) -> list[str]:
    """The surveys that were asked, in the order of their names."""
    return sorted(path.stem for path in folder.glob("*.parquet"))


def put_wave(folder: Path, name: str, instrument: Instrument, tick: int, repeat: int, replies: Sequence[Reply]) -> Path:
    """Keep a wave of a survey, and write its table anew. Of a wave that was asked before, who is not in this one stays.

    Gives the table's file. Raises SettingsError where the survey was asked with another instrument, StorageError.
    """
    check_instrument(folder, name, instrument)
    parts = folder / name
    make_folder(parts)
    columns: dict[str, Any] = {
        "agent": [one.agent for one in replies],
        "tick": [tick] * len(replies),
        "wave": [0] * len(replies),
        "order": [list(one.order) or None for one in replies],
        **{
            what: [getattr(one, what) for one in replies] for what in ("item", "answer", "label", "abstained", "weight")
        },
    }
    part_path = parts / f"t{tick:08}-r{repeat:03}.parquet"
    part = pa.table(columns, schema=_schema(instrument, name))
    if part_path.exists():
        before = _read(part_path)
        others = before.filter(pc.invert(pc.is_in(before["agent"], value_set=part["agent"].combine_chunks())))
        both = pa.concat_tables([others.cast(part.schema), part])
        part = both.take(np.argsort(both["agent"].to_numpy(), kind="stable"))
    _write(part_path, part)
    tables = []
    for wave, path in enumerate(_parts(parts)):
        part = _read(path)
        number = pa.array([wave] * part.num_rows, pa.int32())
        tables.append(part.set_column(part.schema.get_field_index("wave"), part.schema.field("wave"), number))
    whole = table_path(folder, name)
    _write(whole, pa.concat_tables(tables))
    return whole


def read_survey(folder: Path, name: str) -> Asked:
    """A survey's table. Raises SettingsError, naming those there are, for one that was not asked."""
    path = table_path(folder, name)
    if not path.exists():
        there = ", ".join(surveys_in(folder)) or "none yet: populace survey RUN --instrument cesd --at-tick 10"
        raise SettingsError(f"{folder}: no survey is called {name!r}. There are: {there}")
    table = _read(path)
    return Asked(name, _instrument_in(path, table.schema.metadata), table)


def check_instrument(folder: Path, name: str, instrument: Instrument) -> None:
    """Raise SettingsError where a survey of this name was asked with another instrument."""
    path = table_path(folder, name)
    if path.exists() and plain(_instrument_in(path, _read_schema(path).metadata)) != plain(instrument):
        raise SettingsError(
            f"{path}: the survey {name!r} was asked with another instrument of that name. Give this one a name of its "
            f"own: --name {name}-2"
        )


def past_of(folder: Path, run: str) -> Past | None:
    """The journal of a run's probes, to look answers up in; None where nothing was asked yet."""
    journal = folder / JOURNAL
    return Past(str(journal), run, own=True) if journal.exists() else None


def spent_on(folder: Path, run: str) -> Counts:
    """What the answers on record of a run's probes cost, by purpose. Raises StorageError."""
    past = past_of(folder, run)
    return Counts() if past is None else billed_in(past, 0)


def billed_by(folder: Path, run: str) -> dict[tuple[str, str], Purpose]:
    """What a run's probes came to, by purpose and model role ('' for the default one). Raises StorageError."""
    found: dict[tuple[str, str], Purpose] = {}
    journal = folder / JOURNAL
    for one in read_journal(journal, run=run) if journal.exists() else ():
        answer = one.answer
        part = found.setdefault((answer.purpose, answer.model_role), Purpose())
        part.asks += 1
        part.bill(answer)
        if answer.settled == "abstained":
            part.abstained[answer.reason] = part.abstained.get(answer.reason, 0) + 1
    return found


def _parts(folder: Path) -> list[Path]:
    found = [(int(hit[1]), int(hit[2]), path) for path in folder.iterdir() if (hit := _PART.fullmatch(path.name))]
    return [path for _, _, path in sorted(found)]


def _schema(instrument: Instrument, name: str) -> Any:
    about = {"populace.table": f"survey {name}", SCHEMA: _VERSION, _INSTRUMENT: json.dumps(plain(instrument))}
    return pa.schema([pa.field(what, of, metadata={"about": about}) for what, of, about in _COLUMNS], metadata=about)


def _write(path: Path, table: Any) -> None:
    part = path.with_name(f"{path.name}.part")
    with naming(path, "written"):
        pq.write_table(table, part)
        part.replace(path)
    sync_folder(path.parent)


def _read(path: Path) -> Any:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise StorageError(
            f"{path}: cannot be read ({error}). Ask the survey again: its answers are on record."
        ) from None
    check_schema(path, table.schema.metadata)
    return table


def _read_schema(path: Path) -> Any:
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise StorageError(
            f"{path}: cannot be read ({error}). Ask the survey again: its answers are on record."
        ) from None


def _instrument_in(path: Path, metadata: Any) -> Instrument:
    try:
        return instrument_of(json.loads((metadata or {})[_INSTRUMENT]), str(path))
    except (KeyError, ValueError):
        raise SettingsError(f"{path}: is no table of a survey that populace wrote.") from None
