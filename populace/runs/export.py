"""A copy of a run for publication: its figures, without what people or models wrote. A shell: files."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from populace.core.errors import SettingsError
from populace.core.tables import SCHEMA_VERSION, TABLES, Table
from populace.files import naming, write_whole
from populace.runs.result import Run
from populace.store.manifest import MANIFEST, redact
from populace.store.place import check_new
from populace.store.tables.files import SCHEMA
from populace.store.tables.tables import read_table, table_files

_OF_MANIFEST: Final = (
    "trace_hash", "trace_hashes", "world_hash", "world_hashes", "world_parts", "scenario", "experiment", "arm",
    "status", "valid", "seed", "model", "answers", "roles", "agents", "ticks", "turns", "turns_failed", "messages",
    "actions", "rounds", "asks", "surrogates", "calls_billed", "tokens_in", "tokens_out", "cost_usd",
    "estimated_tokens", "estimated_usd", "saved", "wall_s",
)  # fmt: skip
_TEXTS_OF_SETTINGS: Final = frozenset({("model", "kind"), ("model", "name"), ("model", "sampling"), ("transport",)})
_IDS: Final = ("agent", "sender", "receiver", "source", "target")
LEFT_OUT: Final = "[left out]"


class Exported(msgspec.Struct, frozen=True):
    """What a copy holds, and what was left out of it: columns as `table.column`."""

    folder: str
    tables: dict[str, list[str]]
    left_out: list[str]
    hashed_ids: bool


def export_run(
    run: Run | str | Path,
    out: str | Path,
    *,
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    hash_ids: bool = False,
    key: bytes | None = None,
) -> Exported:
    """Write a redacted copy of a run that has ended into the new folder `out`.

    Left out are the columns that may say who somebody is (`private` in `core.tables`: prompts, facts, answers, bodies,
    texts of errors, content keys) and public fields of text; of the manifest hosts, paths, errors, levers and texts
    among settings and parameters. `keep` and `drop` name columns (`asks.answer`) that are to stay or go all the same.
    With `hash_ids` agents get other ids in all tables, drawn by `key`: without one, by a key that is kept nowhere.
    Raises SettingsError for a run at work or without a manifest, a column there is not, or a folder that is not empty.
    """
    run = run if isinstance(run, Run) else Run(run)
    out = Path(out)
    if run.status == "at work":
        raise SettingsError(f"{run.name}: is still at work. Export it when it has ended.")
    manifest = run.manifest
    check_new(out)
    held = {name: read_table(run.folder, name) for name in TABLES if table_files(run.folder, name)}
    known = {f"{name}.{column}" for name, table in held.items() for column in table.column_names}
    for column in (*keep, *drop):
        if column not in known:
            raise SettingsError(f"{column}: the run has no such column. It has: {', '.join(sorted(known))}.")
    ids = (
        _other_ids(int(manifest["agents"]) + int(manifest.get("born", 0)), key or secrets.token_bytes(32))
        if hash_ids
        else None
    )
    kept: dict[str, list[str]] = {}
    with naming(out, "written"):
        out.mkdir(parents=True, exist_ok=True)
        for name, table in held.items():
            columns = [one for one in table.column_names if _stays(name, one, table, keep, drop)]
            kept[name] = columns
            copied = _copied(name, TABLES[name], table.select(columns), ids)
            pq.write_table(copied, out / f"{name}.parquet", write_page_checksum=True)
    left_out = sorted(known - {f"{name}.{column}" for name, columns in kept.items() for column in columns})
    exported = Exported(str(out), kept, left_out, hash_ids)
    write_whole(out / MANIFEST, msgspec.json.format(msgspec.json.encode(_manifest(manifest)), indent=2) + b"\n")
    write_whole(out / "README.md", _readme(manifest, exported).encode())
    return exported


def _stays(name: str, column: str, table: Any, keep: Sequence[str], drop: Sequence[str]) -> bool:
    full = f"{name}.{column}"
    if full in drop or full in keep:
        return full not in drop
    declared = next((one for one in TABLES[name].columns if one.name == column), None)
    if (name, column) == ("agents", "type"):
        return True
    if declared is None:  # a public field, or a column of another populace
        kind = table.schema.field(column).type
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))
    return not declared.private


def _other_ids(agents: int, key: bytes) -> Any:
    """Another id for each agent: its place in the order of keyed hashes, so that ids are 0 to agents - 1 again."""
    hashes = [blake2b(str(n).encode(), key=key[:64], digest_size=16).digest() for n in range(agents)]
    ids = np.empty(agents, np.int32)
    ids[sorted(range(agents), key=hashes.__getitem__)] = np.arange(agents, dtype=np.int32)
    return ids


def _copied(name: str, declared: Table, table: Any, ids: Any) -> Any:
    """A table with other ids, in its order, so that no place of a row tells the id before."""
    if ids is not None:
        for column in set(_IDS) & set(table.column_names):
            was = table.column(column).to_numpy()
            now = np.where((was >= 0) & (was < len(ids)), ids[np.clip(was, 0, len(ids) - 1)], -1).astype(np.int32)
            table = table.set_column(table.column_names.index(column), table.schema.field(column), pa.array(now))
        order = [one for one in declared.order if one in table.column_names]
        table = table.take(pc.sort_indices(table, sort_keys=[(one, "ascending") for one in order]))
    about = {"populace.table": name, "populace.order": ", ".join(declared.order), "populace.redacted": "true"}
    return table.replace_schema_metadata({SCHEMA: str(SCHEMA_VERSION), **about})


def _manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What figures need of a manifest, with numbers and switches among its settings and parameters."""
    copy = {key: manifest[key] for key in _OF_MANIFEST if key in manifest}
    settings = {key: value for key, value in manifest["settings"].items() if key not in ("levers", "society")}
    copy["settings"] = _numbers(settings)
    copy["parameters"] = _numbers(manifest.get("parameters") or {})
    copy["versions"] = {name: text for name, text in manifest.get("versions", {}).items() if isinstance(text, str)}
    return dict(redact(copy))


def _numbers(values: Mapping[str, Any], *at: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        here = (*at, key)
        if isinstance(value, Mapping) and len(here) < 2:
            found[key] = _numbers(value, *here)
        elif value is None or isinstance(value, bool | int | float) or here in _TEXTS_OF_SETTINGS:
            found[key] = value
        else:
            found[key] = LEFT_OUT
    return found


def _readme(manifest: Mapping[str, Any], exported: Exported) -> str:
    ids = (
        "Agents have other ids than in the run, the same in all tables." if exported.hashed_ids
        else "Agents have the ids that they had in the run."
    )  # fmt: skip
    tables = "\n".join(f"- `{name}.parquet`: {', '.join(columns)}" for name, columns in exported.tables.items())
    left_out = "\n".join(f"- `{column}`" for column in exported.left_out) or "- nothing"
    return f"""# A redacted copy of a run of {manifest["scenario"]}

Made by populace for publication. It holds the figures of the run, with what recomputes them, and can neither be
resumed nor replayed: the model's answers are not in it. {ids} Names that the society's author gave (of the scenario,
purposes of asks, kinds of actions, outcomes, public fields, the experiment and its arm) stand as they are.

## What is here

{tables}
- `manifest.json`: counts, costs, hashes, and the numbers among settings and parameters

## What was left out

{left_out}
- of the manifest: hosts, paths, errors, levers, the parent run, and texts among settings and parameters
- the run's `run.json` (its code) and `journal/` (what the model said)

Read it with any reader of Parquet, or with `populace.panel(folder, field)`.
"""
