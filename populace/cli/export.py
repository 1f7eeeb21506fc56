"""`populace export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[str, typer.Argument(help="The run's folder, or its address (s3://...).")],
    out: Annotated[Path, typer.Option(help="The folder of the copy, a new one.")],
    hash_ids: Annotated[bool, typer.Option("--hash-ids", help="Give agents other ids, one in all tables.")] = False,
    id_key: Annotated[
        Path | None, typer.Option(help="A file with the secret that draws those ids: the same for runs that share it.")
    ] = None,
    keep: Annotated[list[str] | None, typer.Option(help="A column that stays, as in asks.answer; repeatable.")] = None,
    drop: Annotated[list[str] | None, typer.Option(help="A column that goes, as in agents.age; repeatable.")] = None,
) -> None:
    """Write a redacted copy of a run for publication: figures, without prompts, answers, personas and messages."""
    from populace.core.errors import SettingsError
    from populace.files import naming
    from populace.runs.export import export_run

    key = None
    if id_key is not None:
        with naming(id_key, "read"):
            key = id_key.read_bytes().strip()
        if not hash_ids or len(key) < 16:
            raise SettingsError(f"--id-key {id_key}: goes with --hash-ids, and holds a secret of 16 bytes or more")
    exported = export_run(run, out, keep=keep or (), drop=drop or (), hash_ids=hash_ids, key=key)
    left_out = ", ".join(exported.left_out) or "nothing"
    sys.stdout.write(f"{out}: written. Left out: {left_out}. See {out / 'README.md'}\n")
