"""A redacted copy: what people and models wrote is nowhere in its bytes, and its figures are those of the run."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.villages import AGENTS, IMPORTS, KNOBS, OUTCOMES, SOCIETY
from typer.testing import CliRunner

import populace
from populace.cli.app import app
from populace.core.errors import SettingsError
from populace.core.tables import TABLES

CANARY = "Zanzibar-Quetzal"
PERSONAL = (
    IMPORTS
    + KNOBS.replace("pull:", f'topic: str = "{CANARY}"\n    pull:')
    + AGENTS.replace("    belief: Public", f'    persona: Public[str] = "{CANARY}"\n    belief: Public')
    .replace('{self.belief}. Do you?"', '{self.belief}. Do you, {self.persona}?"')
    .replace('Choice("yes", "no")', f'Choice("{CANARY}", "no")')
    .replace('answer == "yes"', 'answer == "no"')
    .replace('"rumour")', f'"{CANARY}")\n            if ctx.id == 3:\n                raise ValueError("{CANARY}")')
    + OUTCOMES
    + SOCIETY
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("village.py").write_text(PERSONAL)
    settings = {"limits.failed_turns": 1.0, "endpoint.base_url": f"http://{CANARY}.example/v1"}
    levers = ["at=1, name='%s', send={to=[2], body='%s'}" % (CANARY, CANARY)]  # noqa: UP031
    return populace.run(
        "village.py", model="scripted", seed=3, quiet=True, levers=levers, settings=settings, out=f"runs/{CANARY}"
    )


def everything(folder: Path) -> bytes:
    """Every byte of a folder, and every value of its tables, which are compressed."""
    raw = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    tables = [pq.read_table(path) for path in folder.glob("*.parquet")]
    return raw + "".join(f"{table.schema} {table.schema.metadata} {table.to_pylist()}" for table in tables).encode()


def test_a_canary_is_nowhere_in_the_copy_and_in_the_run_it_is(run, tmp_path):
    told = everything(run.folder)
    assert told.count(CANARY.encode()) > 20
    exported = populace.export(run, "copy")
    copy = everything(Path("copy"))
    assert CANARY.encode() not in copy
    assert str(tmp_path).encode() not in copy
    assert {"asks.prompt", "asks.answer", "messages.body", "agents.persona", "failures.error"} <= set(exported.left_out)
    readme = Path("copy/README.md").read_text()
    assert all(f"`{column}`" in readme for column in exported.left_out)


def test_a_copy_is_no_run_and_says_how_it_is_read(run):
    populace.export(run, "copy")
    with pytest.raises(
        SettingsError, match=r"there is no such file.*no run any more.*read_parquet\('copy/outcomes.parquet'\)"
    ):
        populace.load("copy")


def test_control_columns_kept_bring_it_back(run):
    populace.export(run, "copy", keep=["asks.prompt"])
    assert CANARY.encode() in everything(Path("copy"))


def test_every_column_of_text_is_private_or_a_name_or_a_known_word():
    open_to_all = {
        "messages.fate", "asks.purpose", "asks.model_role", "asks.settled", "asks.reason", "asks.reading",
        "asks.left_out", "asks.for_type", "actions.kind", "actions.fate", "rounds.part", "outcomes.name",
        "turnover.type", "turnover.what", "ties.part", "surrogates.type", "surrogates.purpose", "places.part",
        "places.kind", "places.name", "whereabouts.part",
    }  # fmt: skip
    texts = {
        f"{name}.{one.name}" for name, table in TABLES.items() for one in table.columns
        if one.type == "text" and not one.private
    }  # fmt: skip
    assert texts == open_to_all


def test_figures_can_be_recomputed_from_it(run):
    populace.export(run, "copy", drop=["agents.heard"])
    assert pq.read_table("copy/outcomes.parquet").to_pydict() == run.table("outcomes", "arrow").to_pydict()
    assert populace.panel("copy", "belief")[-1].mean() == pytest.approx(run.outcomes["belief"].iloc[-1])
    assert "heard" not in pq.read_table("copy/agents.parquet").column_names
    manifest = json.loads(Path("copy/manifest.json").read_text())
    for key in ("trace_hash", "asks", "messages", "cost_usd", "seed", "agents", "ticks"):
        assert manifest[key] == run.manifest[key]
    assert manifest["parameters"] == {"topic": "[left out]", "pull": 0.5}


def test_hashed_ids_are_the_same_in_all_tables_and_for_runs_of_one_key(run):
    populace.export(run, "plain")
    for name in ("one", "two"):
        populace.export(run, name, hash_ids=True, key=b"a secret of sixteen")
    populace.export(run, "other", hash_ids=True)
    agents = {name: pq.read_table(f"{name}/agents.parquet") for name in ("plain", "one", "two", "other")}
    assert agents["one"].equals(agents["two"])
    was, now = populace.panel("plain", "belief"), populace.panel("one", "belief")
    assert not (was == now).all()
    assert sorted(was[-1]) == sorted(now[-1])
    asks = {name: pq.read_table(f"{name}/asks.parquet").column("agent").to_pylist() for name in ("plain", "one")}
    first, again = asks["plain"][0], asks["one"][0]
    assert first == 0, "the rumour begins with agent 0"
    heard = populace.panel("one", "heard")[0]
    assert heard.argmax() == again != 0
    order = agents["one"].select(["tick", "agent"]).to_pylist()
    assert order == sorted(order, key=lambda row: (row["tick"], row["agent"]))
    senders = pq.read_table("one/messages.parquet").column("sender").to_pylist()
    assert -1 in senders, "the world and levers stay -1"


def test_what_cannot_be_exported_is_said_and_nothing_is_overwritten(run):
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    with pytest.raises(SettingsError, match="mine: is not empty"):
        populace.export(run, "mine")
    with pytest.raises(SettingsError, match=r"asks\.promt: the run has no such column"):
        populace.export(run, "copy", keep=["asks.promt"])
    assert not Path("copy").exists()
    done = CliRunner().invoke(app, ["export", str(run.folder), "--out", "copy", "--hash-ids"])
    assert done.exit_code == 0, done.output
    assert "asks.prompt" in done.stdout
    assert CANARY.encode() not in everything(Path("copy"))
