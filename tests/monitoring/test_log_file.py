"""A run's log tells what befell it, and nothing that agents, models or their society wrote."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from support.misbehaving import Misbehaving, status
from support.running import SOCIETIES, settings_of

import populace
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import ActorLost, SettingsError
from populace.data.societies import find_society
from populace.monitoring.line_file import LineFile
from populace.monitoring.log_file import LogFile
from populace.monitoring.report import Happening
from populace.settings.watching import LogSettings

pytestmark = pytest.mark.filterwarnings("default:cobalt-huguenot")

CANARIES = {
    "persona": "zanzibar-heliotrope", "prompt": "tangerine-obelisk", "answer": "walrus-semaphore",
    "message": "quixotic-marmalade", "error": "velvet-ziggurat", "warning": "cobalt-huguenot",
}  # fmt: skip

FILE = """
import warnings
from populace import Agent, Population, Public, Society

class Widow(Agent):
    profile: str
    age: Public[int] = 0

    async def turn(self, ctx):
        said = await ctx.ask("{persona} %s: what do you say? tangerine-obelisk" % self.profile,
                             facts={"persona": self.profile})
        ctx.send(0, "quixotic-marmalade %s" % said)
        if ctx.id == 1:
            raise ValueError("velvet-ziggurat " + self.profile)

def population(setup):
    return Population({"profile": ["zanzibar-heliotrope"] * setup.agents})

def measured(world):
    warnings.warn("cobalt-huguenot", stacklevel=1)
    return float(world.columns["age"].mean())

society = Society(name="widows", agent=Widow, population=population, size=4, ticks=3,
                  scripted=lambda ask, draw: "walrus-semaphore", outcomes={"age": measured})
"""


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def widows(folder: Path, out: str, **log) -> tuple[populace.Run, list[dict], str]:
    (folder / "widows.py").write_text(FILE)
    settings = {
        "limits.failed_turns": 1.0,
        "checkpoint.every_ticks": 1,
        **{f"log.{name}": value for name, value in log.items()},
    }
    run = populace.run(
        folder / "widows.py", model="scripted", shards=2, out=folder / out, quiet=True, settings=settings
    )
    path = folder / f"{out}.jsonl"
    return run, lines_of(path), path.read_text(encoding="utf-8")


def test_a_log_tells_of_begin_ticks_checkpoints_failed_turns_and_end(tmp_path):
    run, lines, text = widows(tmp_path, "plain", file=str(tmp_path / "plain.jsonl"), level="debug")
    events = [line["event"] for line in lines]
    assert events[:2] == ["begin", "attempt"]
    assert events[-1] == "end"
    assert {"tick", "checkpoint", "failed_turns", "shard"} <= set(events)
    assert all(line.keys() >= {"at", "level", "run", "attempt", "shard", "tick", "event"} for line in lines)
    assert {line["run"] for line in lines} == {run.manifest["run"]}
    ticks = [line for line in lines if line["event"] == "tick"]
    assert [line["tick"] for line in ticks] == [1, 2, 3]
    assert sum(line["turns"] for line in ticks) == run.manifest["turns"]
    assert sum(line["asks"] for line in ticks) == run.manifest["asks"]["made"]
    failed = [line for line in lines if line["event"] == "failed_turns"]
    assert sum(line["turns"] for line in failed) == run.manifest["turns_failed"] == 3
    assert {(line["error"], line["shard"], line["first_agent"]) for line in failed} == {("ValueError", 1, 1)}
    assert "widows.py" in failed[0]["where"]
    assert {line["shard"] for line in lines if line["event"] == "shard"} == {-1, 0, 1}
    assert lines[-1]["trace_hash"] == run.manifest["trace_hash"]
    for what, canary in CANARIES.items():
        assert canary not in text, what


def test_with_texts_they_are_there(tmp_path):
    """The control: the same run's log holds each canary once it is asked for, so the search above would find it."""
    run, lines, text = widows(tmp_path, "texts", file=str(tmp_path / "texts.jsonl"), texts=True)
    for what in ("prompt", "answer", "error", "warning", "persona"):
        assert CANARIES[what] in text, what
    asks = [line for line in lines if line["event"] == "ask"]
    assert len(asks) == run.manifest["asks"]["made"]
    plain, _, _ = widows(tmp_path, "plain", file=str(tmp_path / "plain.jsonl"))
    assert plain.manifest["trace_hash"] == run.manifest["trace_hash"]


def test_a_level_leaves_out_what_is_below_it(tmp_path):
    _, lines, _ = widows(tmp_path, "few", file=str(tmp_path / "few.jsonl"), level="warning")
    assert {line["level"] for line in lines} == {"warning"}


class Losing(LocalTransport):
    """Loses shard 1 once, as its tick 4 is opened."""

    lost = False

    async def open_tick(self, shard, tick, envelope):
        if (shard, tick) == (1, 4) and not self.lost:
            self.lost = True
            raise ActorLost(["shard 1"], "its process ended: velvet-ziggurat")
        return await super().open_tick(shard, tick, envelope)


def test_losses_and_recoveries_are_told_with_the_attempt(tmp_path):
    log = LogFile(LogSettings(file=str(tmp_path / "{run}.jsonl")), "the-run")
    settings = settings_of(shards=2, ticks=8, checkpoint__every_ticks=2)
    coordinator = Coordinator(find_society(SOCIETIES), settings, Losing(), tmp_path / "out", [log])
    asyncio.run(coordinator.run())
    lines = lines_of(tmp_path / "the-run.jsonl")
    told = [(line["event"], line["attempt"]) for line in lines if line["event"] in ("attempt", "lost", "recovered")]
    assert told == [("attempt", 0), ("lost", 0), ("recovered", 0), ("attempt", 1)]
    assert [line["names"] for line in lines if line["event"] == "lost"] == [["shard 1"]]
    again = [line["tick"] for line in lines if line["event"] == "tick" and line["attempt"] == 1]
    assert again[0] == next(line["tick"] for line in lines if line["event"] == "recovered") + 1
    assert "velvet-ziggurat" not in (tmp_path / "the-run.jsonl").read_text()


@pytest.mark.ray
def test_on_ray_what_befalls_shards_stands_in_the_one_log(tmp_path, ray_cluster):
    settings = {"limits.failed_turns": 1.0, "log.level": "debug"}
    hashes, failed = [], []
    for transport in ("local", "ray"):
        path = tmp_path / f"{transport}.jsonl"
        run = populace.run(
            SOCIETIES, model="scripted", agents=30, ticks=4, shards=2, transport=transport, quiet=True,
            out=tmp_path / transport, settings={**settings, "log.file": str(path)},
        )  # fmt: skip
        lines = lines_of(path)
        assert {line["shard"] for line in lines if line["event"] == "shard"} == {-1, 0, 1}
        told = [line for line in lines if line["event"] == "failed_turns"]
        failed.append([(line["shard"], line["of_tick"], line["error"], line["turns"]) for line in told])
        hashes.append(run.manifest["trace_hash"])
    assert failed[0]
    assert failed[0] == failed[1]
    assert hashes[0] == hashes[1]


def test_what_an_endpoint_refuses_is_told_by_reason(tmp_path):
    with Misbehaving(plan=[status(429, retry_after="0"), status(500)]) as endpoint:
        run = populace.run(
            SOCIETIES, model="openai", agents=20, ticks=2, out=tmp_path / "out", quiet=True,
            settings={
                "endpoint.base_url": endpoint.base_url, "model.name": "test-model", "log.file": str(tmp_path / "log"),
                "limits.failed_turns": 1.0,
            },
        )  # fmt: skip
    retries: dict[str, int] = {}
    for line in lines_of(tmp_path / "log"):
        if line["event"] == "retries":
            for reason, n in line["by_reason"].items():
                retries[reason] = retries.get(reason, 0) + n
    assert (retries["rate_limit"], retries["fault"]) == (1, 1)
    assert run.manifest["turns"] == 40


def test_a_log_is_bounded_and_its_lines_are_whole(tmp_path):
    path = tmp_path / "log.jsonl"
    log = LogFile(LogSettings(file=str(path), most_bytes=65_536, texts=True), "run")
    log.begin("a", 1, 1, 1, "m")
    for n in range(2000):
        log.happened(Happening("note", "warning", n, text="x" * 300, private=True))
    log.happened(Happening("note", "warning", 2000, text="y" * 1_000_000 + "\x1b[31m\u202e", private=True))
    log.close()
    files = [path, tmp_path / "log.jsonl.1"]
    assert sorted(tmp_path.iterdir()) == files
    assert all(file.stat().st_size <= 65_536 for file in files)
    assert [line["tick"] for file in reversed(files) for line in lines_of(file)][-1] == 2000
    last = path.read_text().splitlines()[-1]
    assert len(last) < 10_000
    assert "(1,000,006 characters)" in last


def test_what_a_terminal_would_act_on_is_escaped(tmp_path):
    path = tmp_path / "log.jsonl"
    log = LogFile(LogSettings(file=str(path), texts=True), "run")
    log.begin("a\x1b[31m", 1, 1, 1, "m\u202e")
    log.happened(Happening("note", "warning", 0, text="\x1b]0;title\x07 \u2066 \x9b", private=True))
    log.close()
    raw = path.read_text(encoding="utf-8")
    assert not set(raw) & set("\x1b\x07\x9b\u202e\u2066")
    assert lines_of(path)[-1]["text"] == "\x1b]0;title\x07 \u2066 \x9b"


def test_a_file_that_cannot_be_had_is_told_before_the_run_begins(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="--log"):
        LogFile(LogSettings(file=str(tmp_path / "file" / "log")), "run").begin("a", 1, 1, 1, "m")


def test_a_disk_that_fills_up_ends_no_run(tmp_path, monkeypatch):
    log = LogFile(LogSettings(file=str(tmp_path / "log")), "run")
    log.begin("a", 1, 1, 1, "m")
    monkeypatch.setattr(LineFile, "shouldRollover", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    log.happened(Happening("checkpoint", tick=1))
    log.happened(Happening("checkpoint", tick=2))
    log.end("complete", {})
    assert (tmp_path / "log").read_text() == ""
