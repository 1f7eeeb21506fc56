"""Scaling studies: cells, what they come to, lines through them, and a study that goes on where it was."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.command import populace
from support.misbehaving import Misbehaving
from support.running import SOCIETIES

from populace.core.errors import BudgetSpent, SettingsError, StorageError
from populace.core.records import Counts
from populace.experiments.scaling import (
    Assumed,
    Cell,
    cells_of,
    fit_line,
    measured,
    project,
    read_study,
    report,
    scale,
    write_report,
)
from populace.experiments.scaling.cells import sizes_of
from populace.experiments.scaling.coordinator import coordinator_s
from populace.experiments.scaling.fits import coordinator_at
from populace.experiments.scaling.measures import read_ticks
from populace.experiments.scaling.watching import TICKS, TickTold, Watching
from populace.kernel.barrier import Barrier, Begin, ShardDone, WorldClosed
from populace.store.folder import read_run_file
from populace.store.manifest import read_manifest

SMALL = {"agents": [20, 40], "shards": [1, 2], "ticks": 4, "model__kind": "scripted", "limits__failed_turns": 1.0}


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scaling") / "study"
    return scale(SOCIETIES, folder, **SMALL), folder


def test_every_cell_is_a_run_of_its_size_and_its_figures_are_of_it(studied):
    study, folder = studied
    assert [one.cell for one in study.measured] == [Cell(a, s) for a in (20, 40) for s in (1, 2)]
    for one in study.measured:
        settings = read_run_file(folder / one.cell.name).read_settings()
        assert (settings.agents, settings.shards) == (one.cell.agents, one.cell.shards)
        told = read_ticks(folder / one.cell.name)
        assert [tick.tick for tick in told] in ([2, 3, 4], [1, 2, 3, 4])
        assert one.turns_a_tick == one.cell.agents
        assert 0 < one.tick_p50_s <= one.tick_p99_s
        assert one.turns_per_s == pytest.approx(one.turns_a_tick / one.tick_s)
        assert one.cpu_s_a_turn > 0
        assert one.bytes_an_agent * one.cell.agents > 2**20
    hashes = {one.cell: read_manifest(folder / one.cell.name)["trace_hash"] for one in study.measured}
    assert hashes[Cell(20, 1)] == hashes[Cell(20, 2)], "shards are no part of the result"
    assert [of for of, _ in study.coordinator] == [1, 10, 100, 300, 1000]
    assert read_study(folder) == study


def test_what_is_complete_stays_and_what_was_cut_off_goes_on(studied, tmp_path, monkeypatch):
    _, folder = studied
    before = {path: path.stat().st_mtime_ns for path in folder.glob("agents-*/manifest.json")}
    manifest = next(iter(before))
    (manifest.parent / TICKS).write_bytes((manifest.parent / TICKS).read_bytes() + b'{"tick": 9, "wa')  # a kill
    said: list[str] = []
    again = scale(SOCIETIES, folder, say=said.append, **SMALL)
    assert sum("complete already" in line for line in said) == 4
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(again.measured) == 4
    said.clear()
    fewer = scale(SOCIETIES, folder, say=said.append, **{**SMALL, "agents": [20]})
    assert len(fewer.measured) == 2
    assert any("not in the report" in line and "agents-40-shards-1-0" in line for line in said)
    scale(SOCIETIES, folder, **SMALL)
    with pytest.raises(SettingsError, match="holds another run"):
        scale(SOCIETIES, folder, **{**SMALL, "seed": 9, "agents": [20]})


def test_one_budget_holds_for_all_cells_and_what_it_bought_is_not_paid_for_again(tmp_path):
    with Misbehaving() as server:
        asking = {"model__kind": "openai", "endpoint__base_url": server.base_url, "model__name": "test-model"}
        bounded = {**SMALL, "agents": [20], "shards": [1, 2], **asking, "budget__ledger": str(tmp_path / "ledger")}
        with pytest.raises(BudgetSpent, match="give the same command again"):
            scale(SOCIETIES, tmp_path / "study", **bounded, budget__experiment_tokens=2_000)
        billed = server.billed.tokens_in + server.billed.tokens_out
        assert 0 < billed <= 2_000
        whole = scale(SOCIETIES, tmp_path / "study", **bounded, budget__experiment_tokens=1_000_000)
        assert len(whole.measured) == 2
        cells = [read_manifest(tmp_path / "study" / one.cell.name) for one in whole.measured]
        assert sum(one["calls_billed"] for one in cells) == len(server.seen)


def test_ticks_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / TICKS).write_text('{"tick": "one"}\n{}\n')
    with pytest.raises(StorageError, match=r"scaling\.jsonl:1: .*Remove the cell's folder"):
        read_ticks(tmp_path)
    with pytest.raises(StorageError, match="no tick was timed"):
        measured(Cell(10, 1), [])
    with pytest.raises(StorageError, match="no study"):
        read_study(tmp_path)


@pytest.mark.parametrize(("text", "sizes"), [("1e3,1e4", [1000, 10_000]), ("7", [7]), (" 20, 1_000 ", [20, 1000])])
def test_sizes_are_read(text, sizes):
    assert sizes_of(text) == sizes


def test_sizes_that_are_none_are_refused():
    for text in ("", "1.5", "many", "1e3,,2", "nan", "inf"):
        with pytest.raises(SettingsError, match="whole number"):
            sizes_of(text)
    for agents, shards, repeats in (([], [1], 1), ([0], [1], 1), ([5, 5], [1], 1), ([5], [1], 0)):
        with pytest.raises(SettingsError):
            cells_of(agents, shards, repeats)
    assert [one.name for one in cells_of([5], [2, 1], 2)][:2] == ["agents-5-shards-1-0", "agents-5-shards-2-0"]
    with pytest.raises(SettingsError, match="ticks: at least 2"):
        scale(SOCIETIES, "nowhere", **{**SMALL, "ticks": 1})
    assert not Path("nowhere").exists()


def told(tick: int, wall_s: float, model_s: float = 0.0) -> TickTold:
    stages = {"turns": 0.5 * wall_s, "resolve": 0.2 * wall_s, "record": 0.1 * wall_s, "checkpoint": 0.1 * wall_s}
    return TickTold(tick, wall_s, 2 * wall_s, 10**6 + tick, 100, 50, 200, model_s, stages)


def test_figures_are_what_the_ticks_say():
    one = measured(Cell(100, 2), [told(2, 1.0, 0.4), told(3, 3.0, 5.0)])
    assert (one.turns_per_s, one.asks_per_s, one.messages_per_s) == (50.0, 25.0, 100.0)
    assert (one.tick_s, one.tick_p50_s) == (2.0, 2.0)
    assert one.engine_s == pytest.approx((0.6 + 0.0) / 2), "never below nothing"
    assert one.coordinator_s == pytest.approx(0.2 * 2.0)
    assert one.checkpoint_s == pytest.approx(0.1 * 2.0)
    assert one.cpu_s_a_turn == pytest.approx(8.0 / 200)
    assert one.bytes_an_agent == (10**6 + 3) / 100


def test_waits_of_one_agent_add_up_and_those_of_others_do_not(tmp_path):
    watching = Watching(tmp_path)
    asks = [{"agent": [1, 2], "latency_s": [0.5, 0.75]}, {"agent": [1], "latency_s": [0.5]}]
    for tick in (1, 2):
        told_of = type(
            "Report", (), {"tick": tick, "stages_s": {"turns": 1.0}, "counts": Counts(turns=3), "asks": asks}
        )
        watching.tick(told_of())
    watching.end("complete", {})
    (only,) = read_ticks(tmp_path)
    assert (only.tick, only.model_s, only.turns) == (2, 1.0, 3)


def test_the_line_finds_what_was_put_in_and_its_interval_holds_it():
    draw = np.random.default_rng(3)
    sizes = np.repeat([100.0, 1000.0, 10_000.0], 4)
    held = 0
    for _ in range(40):
        fit = fit_line(sizes, (0.01 + 2e-5 * sizes) * draw.lognormal(0.0, 0.1, sizes.size))
        held += fit.each_interval[0] <= 2e-5 <= fit.each_interval[1]
        assert fit.each == pytest.approx(2e-5, rel=0.4)
    assert held >= 32
    exact = fit_line([1, 2, 4], [3.0, 5.0, 9.0])
    assert (exact.fixed, exact.each) == pytest.approx((1.0, 2.0))
    assert fit_line([1, 2], [2.0, 1.0]).each == 0.0, "nothing becomes cheaper by growing"
    assert fit_line([10, 20], [1.0, 4.0]).fixed == 0.0
    with pytest.raises(ValueError, match="two different sizes"):
        fit_line([5, 5], [1.0, 2.0])


def test_what_is_projected_is_bound_by_the_slowest():
    cpu, memory = fit_line([1, 2, 4], [3.0, 5.0, 9.0]), fit_line([1, 2, 4], [10.0, 20.0, 40.0])
    given = {"agents": 1000, "cores": 10, "ticks": 5, "asks_an_agent": 2.0, "coordinator_s": 0.5}
    at = project(cpu, memory, **given, asks_per_s=100.0, usd_per_core_hour=3600.0)
    assert (at.engine_s, at.model_s) == pytest.approx((200.1, 20.0))
    assert (at.bound_by, at.run_s, at.cores_usd) == ("cores", pytest.approx(1000.5), pytest.approx(10_005.0))
    assert project(cpu, memory, **given, asks_per_s=1.0).bound_by == "the model"
    assert project(cpu, memory, **{**given, "coordinator_s": 1e4}, asks_per_s=0.0).bound_by == "the coordinator"
    assert coordinator_at(50, [(10, 1.0), (100, 10.0)]) == pytest.approx(5.0, rel=0.2)
    assert coordinator_at(1000, [(10, 1.0), (100, 10.0)]) == 100.0


def test_the_page_and_its_picture(studied, tmp_path):
    study, _ = studied
    growing = [msgspec.structs.replace(one, cpu_s_a_turn=1e-4) for one in study.measured]
    study = msgspec.structs.replace(study, measured=growing)  # so small a society's own time need not grow
    assumed = Assumed(agents=10**6, cores=64, ticks=100, asks_per_s=500.0, usd_per_core_hour=0.05)
    page = report(study, assumed)
    for wanted in (
        "| 20 | 1 |",
        "The same agents on more shards",
        "As many agents a shard",
        "for each agent",
        "1,000 |",
        "1,000,000 agents on 64 cores",
        "bound by the model",
        "Assumed: ",
    ):
        assert wanted in page, wanted
    written = write_report(study, assumed, tmp_path)
    assert [path.name for path in written] == ["report.md", "scaling.svg"]
    assert "scaling.svg" in written[0].read_text()
    falling = [msgspec.structs.replace(one, cpu_s_a_turn=1 / one.cell.agents**2) for one in study.measured]
    assert "None is projected" in report(msgspec.structs.replace(study, measured=falling), assumed)
    one_size = msgspec.structs.replace(study, measured=study.measured[:1])
    assert "no line can be drawn" in report(one_size, assumed)
    interval = re.compile(r"us \([\d.,]+ to")
    assert "of so few runs and sizes there are none:" in page
    assert not interval.search(page), "a line through two points judges nothing"
    twice = report(msgspec.structs.replace(study, measured=growing * 2), assumed)
    assert "95 % intervals by the bootstrap over runs:" in twice
    assert interval.search(twice)


def test_the_command(tmp_path):
    done = populace("scale", SOCIETIES, "--model", "scripted", "--agents", "20,30", "--repeat", "1", "--ticks", "3",
                    "--set", "limits.failed_turns=1.0", "--out", "study", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "cell 2 of 2: 30 agents" in done.stderr
    assert "## A larger run" in done.stdout
    assert json.loads((tmp_path / "study" / "scaling.json").read_text())["ticks"] == 3
    wrong = populace("scale", SOCIETIES, "--agents", "few", "--out", "other", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "whole number" in wrong.stderr


class Counted(list):
    """Parcels that count how often they are gone through."""

    through = 0

    def __iter__(self):
        Counted.through += 1
        return super().__iter__()


def test_the_coordinator_goes_through_what_a_shard_sends_once_a_tick():
    """Once for each destination, the time would grow with the square of the shards, whatever is sent."""
    shards, agents = 40, np.zeros(0, np.int32)
    barrier = Barrier(shards, 3)
    barrier.handle(Begin())
    Counted.through = 0
    for tick in range(2):
        for shard in range(shards):
            parcels = Counted([((shard + 1) % shards, f"{tick} {shard}"), (-1, "to the world")])
            barrier.handle(ShardDone(shard, 0, tick, agents, b"", Counts(), parcels))
        barrier.handle(WorldClosed(tick, bytes(16), Counts(), []))
    assert Counted.through == 2 * shards
    assert all(mail == [f"1 {(shard - 1) % shards}"] for shard, mail in barrier.mail.items())
    assert len(coordinator_s(5, 16, 3)) == 3
