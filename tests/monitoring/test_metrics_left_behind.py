"""What a run with metrics leaves and shows besides its page: a file, a target, what its shards tell."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.monitoring_support import reports, tell
from support.running import SOCIETIES, settings_of

from populace.core.errors import SettingsError
from populace.core.records import Counts
from populace.core.traffic import EndpointLoad, Traffic, Upkeep, Vitals
from populace.monitoring.metrics import Ceilings, Metrics
from populace.monitoring.report import TickReport
from populace.runs.run import run_society

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def page_of(metrics: Metrics) -> Samples:
    with urllib.request.urlopen(metrics.url, timeout=60) as answer:
        return read(answer.read().decode())


class Watcher:
    """Looks at a folder of targets at each tick."""

    def __init__(self, targets: Path) -> None:
        self.targets = targets
        self.found: list[Any] = []
        self.pages: list[Samples] = []

    def begin(self, *_args) -> None: ...
    def pulse(self, _pulse) -> None: ...
    def note(self, _text) -> None: ...
    def end(self, _status, _manifest) -> None: ...

    def tick(self, _report) -> None:
        for path in self.targets.iterdir():
            (one,) = json.loads(path.read_text())
            self.found.append(one["labels"])
            with urllib.request.urlopen(f"http://{one['targets'][0]}/metrics", timeout=60) as page:
                self.pages.append(read(page.read().decode()))


def run(out: Path, observers=(), **options) -> dict[str, Any]:
    settings = settings_of(**{"metrics_port": 0, "checkpoint__every_ticks": 1, "ticks": 3, **options})
    return run_society(SOCIETIES, settings, out, observers)


def test_a_short_run_leaves_its_last_values(tmp_path):
    """They are whole however short the run was, and say what the manifest says."""
    manifest = run(tmp_path / "run", shards=2)
    text = (tmp_path / "run" / "metrics.prom").read_text()
    samples = read(text)
    assert samples["populace_turns_total", ()] == manifest["turns"] > 0
    assert samples["populace_calls_billed_total", ()] == manifest["calls_billed"] > 0
    journal = sum(path.stat().st_size for path in (tmp_path / "run" / "journal").iterdir())
    assert 0 < samples["populace_journal_bytes_total", ()] <= journal
    assert samples["populace_checkpoints_total", ()] == manifest["ticks"]
    assert samples["populace_checkpoint_bytes_total", ()] > 0
    assert samples["populace_simulated_seconds_total", ()] == 86_400 * manifest["ticks"]
    stages = {dict(labels)["stage"] for name, labels in samples if name == "populace_tick_seconds_sum"}
    assert stages == {"observe", "turns", "resolve", "exchange", "record", "checkpoint"}
    counted = {
        dict(labels)["stage"]: n for (name, labels), n in samples.items() if name == "populace_tick_seconds_count"
    }
    assert set(counted.values()) == {manifest["ticks"]}, "each stage once a tick, the checkpoint of the last one too"
    assert {dict(labels)["shard"] for name, labels in samples if name == "populace_shard_turns_seconds_total"} == {
        "0",
        "1",
    }
    assert 0.0 < samples["populace_critical_path_ratio", ()] <= 1.0
    (rss,) = [value for (name, _), value in samples.items() if name == "populace_resident_memory_bytes"]
    assert rss > 1e7
    assert not list((tmp_path / "run").glob(".*part"))
    if shutil.which("promtool"):
        found = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=240, check=False
        )
        assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_a_run_without_metrics_measures_and_leaves_nothing(tmp_path):
    with_metrics = run(tmp_path / "on")
    without = run(tmp_path / "off", metrics_port=None)
    assert with_metrics["trace_hash"] == without["trace_hash"]
    assert not (tmp_path / "off" / "metrics.prom").exists()


def test_a_target_is_there_while_the_run_lasts_and_leads_to_its_page(tmp_path):
    """It is enough to name the folder: a port is found."""
    targets = tmp_path / "targets"
    targets.mkdir()
    watcher = Watcher(targets)
    run(tmp_path / "run", [watcher], metrics_port=None, metrics_targets=str(targets), experiment="trial", arm="treated")
    assert len(watcher.found) >= 2
    written = json.loads((tmp_path / "run" / "run.json").read_text())["run"]
    assert all(
        found["arm"] == "treated" and found["experiment"] == "trial" and found["run"] == written
        for found in watcher.found
    )
    assert any(page["populace_tick", ()] for page in watcher.pages)
    assert list(targets.iterdir()) == []


def test_a_target_goes_when_the_run_fails(tmp_path):
    metrics = Metrics(run="abc", targets=tmp_path / "new" / "targets")
    metrics.begin("s", 1, 1, 1, "scripted")
    assert [path.name for path in (tmp_path / "new" / "targets").iterdir()] == ["abc.json"]
    metrics.close()
    assert list((tmp_path / "new" / "targets").iterdir()) == []


def test_a_folder_of_targets_that_cannot_be_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    metrics = Metrics(targets=tmp_path / "file")
    with pytest.raises(SettingsError, match=r"metrics_targets = .*file'"):
        metrics.begin("s", 1, 1, 1, "scripted")
    assert metrics._server is None


def test_how_many_series_there_are_does_not_follow_the_agents(tmp_path):
    """Four arms of a run in eight shards, on two endpoints, stay under 2,000 series."""
    pages = []
    for agents in (16, 160):
        run(tmp_path / str(agents), shards=8, agents=agents, ticks=2, checkpoint__every_ticks=None)
        pages.append(read((tmp_path / str(agents) / "metrics.prom").read_text()))
    names = [
        {name for name in page if name[0] != "populace_run_info" and "reason" not in dict(name[1])} for page in pages
    ]
    assert names[0] == names[1]
    told = _told(shards=8, endpoints=2)
    own = {name for name, _ in told} - {name for name, _ in pages[0]}
    assert 4 * (len(pages[0]) + sum(name in own for name, _ in told)) < 2_000


def _vitals(shards: int, endpoints: int) -> list[Vitals]:
    loads = {f"host{at}/v1": EndpointLoad(permits=16, in_use=4, breakers_open=at) for at in range(endpoints)}
    return [Vitals(shard, f"node/{shard}", 10**8 + shard, 0.01, 1.0 + shard, 0.1, loads) for shard in range(shards)]


def _traffic(endpoints: int) -> Traffic:
    names = [f"host{at}/v1" for at in range(endpoints)]
    traffic = Traffic(dict.fromkeys(names, 5), dict.fromkeys(names, 1), joined=3, journal_bytes=100)
    for why in ("rate_limit", "fault", "late", "repair", "form", "batch", "denied"):
        traffic.retried(why)
    traffic.waited(0.5)
    return traffic


def _told(shards: int, endpoints: int) -> Samples:
    total = Counts(turns=10, traffic=_traffic(endpoints))
    upkeep = Upkeep({"the world": 1, **{f"shard {at}": 1 for at in range(shards)}}, 2, 3, 4_000)
    report = TickReport(
        1, 4, 20, Counts(), total, {"turns": 8.0, "observe": 0.1, "resolve": 2.0}, {}, 1.0,
        vitals=_vitals(shards, endpoints), upkeep=upkeep, tick_seconds=60.0,
    )  # fmt: skip
    metrics = Metrics(ceilings=Ceilings(2.0, 1000, 500.0, 9e4))
    metrics.begin("s", 20, 4, shards, "gpt")
    try:
        metrics.tick(report)
        return page_of(metrics)
    finally:
        metrics.close()


def test_what_shards_tell_is_shown_once_and_added_up():
    told = _told(shards=2, endpoints=2)
    at = (("endpoint", "host1/v1"),)
    assert told["populace_permits", at] == 32
    assert told["populace_permits_in_use", at] == 8
    assert told["populace_breakers_open", at] == 2
    assert told["populace_calls_total", at] == 5
    assert told["populace_retries_total", (("reason", "rate_limit"),)] == 1
    assert told["populace_ask_wait_seconds_bucket", (("le", "0.32"),)] == 0
    assert told["populace_ask_wait_seconds_bucket", (("le", "0.64"),)] == 1
    assert told["populace_resident_memory_bytes", (("process", "shard-1"),)] == 10**8 + 1
    assert told["populace_critical_path_ratio", ()] == 2.0 / 10.0, "observe lies within turns"
    assert told["populace_deaths_total", (("who", "shard"),)] == 2
    assert told["populace_deaths_total", (("who", "world"),)] == 1
    assert told["populace_deaths_total", (("who", "quota"),)] == 0
    assert told["populace_recoveries_total", ()] == 2
    assert told["populace_budget_usd", ()] == 2.0
    assert told["populace_quota_requests_per_minute", ()] == 500.0
    assert told["populace_simulated_seconds_total", ()] == 60.0


def test_counters_do_not_fall_when_a_run_goes_back_to_a_checkpoint():
    """Ticks that are done again count once, for whoever watches: a counter that fell would count all of it twice."""
    events = [event for event in reports(5) if isinstance(event, TickReport)]
    metrics = Metrics()
    metrics.begin("s", 20, 5, 1, "scripted")
    try:
        shown = []
        for event in (*events[:4], *events[1:]):
            metrics.tick(event)
            page = page_of(metrics)
            shown.append(
                (page["populace_tick", ()], page["populace_turns_total", ()], page["populace_cost_usd_total", ()])
            )
    finally:
        metrics.close()
    assert [tick for tick, _, _ in shown] == [1, 2, 3, 4, 2, 3, 4, 5]
    turns = [n for _, n, _ in shown]
    assert turns == [20, 40, 60, 80, 80, 80, 80, 100]
    assert [usd for _, _, usd in shown] == sorted(usd for _, _, usd in shown)


def test_what_a_lost_call_cost_is_never_taken_back():
    """After a loss a run's totals may lack what was counted: each counter stays at the most that it has shown."""
    metrics = Metrics()
    metrics.begin("s", 20, 5, 1, "scripted")

    def told(tick: int, calls: int, opened: int) -> float:
        counts = Counts(calls=calls, latency=[calls], refused={"inbox": calls}, traffic=Traffic(opened={"e": opened}))
        counts.latency = [calls, *[0] * 13]
        metrics.tick(TickReport(tick, 5, 20, Counts(), counts, {}, {}, 1.0))
        page = page_of(metrics)
        return page["populace_calls_billed_total", ()], page["populace_breaker_opened_total", (("endpoint", "e"),)]

    try:
        assert told(3, 30, 2) == (30, 2)
        assert told(2, 10, 0) == (30, 2)
        assert told(3, 28, 1) == (30, 2)
        assert told(4, 40, 1) == (40, 2)
    finally:
        metrics.close()


def test_the_file_is_written_seldom_and_last_of_all_at_the_end(tmp_path):
    metrics = Metrics(folder=tmp_path)
    metrics.begin("s", 20, 4, 1, "scripted")
    tell(metrics, reports(2))
    assert not (tmp_path / "metrics.prom").exists(), "the run has just begun"
    metrics._written_s -= 60.0
    tell(metrics, reports(3))
    early = read((tmp_path / "metrics.prom").read_text())
    assert early["populace_tick", ()] == 2, "it was written at the first sign, and not again within seconds"
    tell(metrics, [list(reports(4))[-1]])
    metrics.end("complete", {})
    assert read((tmp_path / "metrics.prom").read_text())["populace_tick", ()] == 4


def test_a_folder_that_is_gone_ends_no_run(tmp_path):
    metrics = Metrics(folder=tmp_path / "gone")
    metrics.begin("s", 20, 4, 1, "scripted")
    tell(metrics, reports(1))
    metrics.end("complete", {})
