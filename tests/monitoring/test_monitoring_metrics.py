"""The metrics page, scraped over loopback as Prometheus would."""

from __future__ import annotations

import http.client
import math
import shutil
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.monitoring_support import AGENTS, reports, tell, tick_counts, whole_manifest

from populace.core.errors import SettingsError
from populace.core.records import LATENCY_BUCKETS_S, Counts
from populace.monitoring.metrics import Metrics
from populace.monitoring.report import TickReport


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    with closing(Metrics(experiment="trial", arm="treated")) as observer:
        observer.begin("polarization", AGENTS, 4, 2, "scripted")
        yield observer


def _text(metrics: Metrics) -> str:
    with urllib.request.urlopen(metrics.url, timeout=60) as answer:
        return answer.read().decode()


def _scrape(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample, by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(_text(metrics))
        for sample in family.samples
    }


def _labelled(samples: dict, name: str, label: str) -> dict[str, float]:
    return {dict(labels)[label]: value for (found, labels), value in samples.items() if found == name}


def test_what_is_scraped_adds_up_to_the_manifest(metrics: Metrics) -> None:
    tell(metrics, reports(4))
    samples, manifest = _scrape(metrics), whole_manifest(4)

    assert samples["populace_turns_total", ()] == manifest["turns"] == 80
    assert samples["populace_turns_failed_total", ()] == manifest["turns_failed"] == 2
    messages = _labelled(samples, "populace_messages_total", "fate")
    assert messages == {fate: manifest["messages"][fate] for fate in ("sent", "delivered", "expired", "refused")}
    assert messages["sent"] == messages["delivered"] + messages["expired"] + messages["refused"] == 40
    assert _labelled(samples, "populace_messages_refused_total", "reason") == {"inbox": 8, "size": 4}
    asks = _labelled(samples, "populace_asks_total", "outcome")
    assert asks == {how: manifest["asks"][how] for how in ("answered", "cached", "replayed", "surrogate", "abstained")}
    assert samples["populace_asks_made_total", ()] == sum(asks.values()) == 16
    assert _labelled(samples, "populace_asks_abstained_total", "reason") == manifest["asks"]["by_reason"]
    assert _labelled(samples, "populace_actions_total", "fate") == {"taken": 20, "applied": 16, "refused": 4}
    assert _labelled(samples, "populace_actions_refused_total", "reason") == {"unknown": 4}
    assert samples["populace_calls_billed_total", ()] == manifest["calls_billed"] == 8
    assert _labelled(samples, "populace_tokens_total", "direction") == {
        "in": manifest["tokens_in"],
        "out": manifest["tokens_out"],
    }
    assert samples["populace_cost_usd_total", ()] == pytest.approx(manifest["cost_usd"])
    assert samples["populace_tick", ()] == 4
    assert samples["populace_agents", ()] == AGENTS
    assert samples["populace_outcome", (("name", "variance"),)] == 3.0
    labels = (("arm", "treated"), ("experiment", "trial"), ("model", "scripted"), ("scenario", "polarization"))
    assert samples["populace_run_info", labels] == 1


def test_histograms_are_cumulative_and_have_their_sums(metrics: Metrics) -> None:
    tell(metrics, reports(4))
    samples = _scrape(metrics)
    buckets = {
        float(dict(labels)["le"]): value
        for (name, labels), value in samples.items()
        if name == "populace_model_latency_seconds_bucket"
    }
    assert sorted(buckets) == [*LATENCY_BUCKETS_S, math.inf]
    assert all(value == (0 if edge < 0.3 else 8) for edge, value in buckets.items())
    assert samples["populace_model_latency_seconds_count", ()] == 8
    assert samples["populace_model_latency_seconds_sum", ()] == pytest.approx(8 * 0.3)
    turns = (("stage", "turns"),)
    assert samples["populace_tick_seconds_count", turns] == 4
    assert samples["populace_tick_seconds_sum", turns] == pytest.approx(4 * 1.8)
    assert samples["populace_tick_seconds_bucket", (("le", "1.0"), *turns)] == 0
    assert samples["populace_tick_seconds_bucket", (("le", "2.5"), *turns)] == 4
    assert samples["populace_tick_seconds_bucket", (("le", "0.001"), ("stage", "resolve"))] == 4


def test_pulses_show_what_waits_and_a_ticks_end_clears_it(metrics: Metrics) -> None:
    events = list(reports(1))
    tell(metrics, events[:-1])
    samples = _scrape(metrics)
    assert (samples["populace_asks_in_flight", ()], samples["populace_asks_waiting", ()]) == (1, 3)
    assert samples["populace_turns_total", ()] == 0
    tell(metrics, events[-1:])
    samples = _scrape(metrics)
    assert (samples["populace_asks_in_flight", ()], samples["populace_asks_waiting", ()]) == (0, 0)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool, of Debian's package prometheus")
def test_promtool_finds_nothing_to_mend(metrics: Metrics) -> None:
    tell(metrics, reports(4))
    found = subprocess.run(
        ["promtool", "check", "metrics"], input=_text(metrics), capture_output=True, text=True, timeout=240, check=False
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool, of Debian's package prometheus")
def test_promtool_does_look(metrics: Metrics) -> None:
    """The negative control of the test above: a name that is wrong by convention is found."""
    tell(metrics, reports(1))
    text = _text(metrics).replace("populace_agents", "populace_agents_total")
    found = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=240, check=False
    )
    assert found.returncode != 0
    assert "populace_agents_total" in found.stderr


def test_no_label_names_an_agent(metrics: Metrics) -> None:
    tell(metrics, reports(4))
    labels = {label for _, labels in _scrape(metrics) for label, _ in labels}
    of_run = {"arm", "experiment", "model", "scenario"}
    assert labels == of_run | {"direction", "fate", "le", "name", "outcome", "purpose", "reason", "stage", "who"}


def test_the_page_does_not_follow_counts_that_change_later(metrics: Metrics) -> None:
    """The coordinator goes on adding to its totals while a scrape may read them."""
    total = tick_counts(0)
    metrics.tick(TickReport(1, 4, AGENTS, Counts(), total, {}, {}, 1.0))
    total.add(tick_counts(1))
    total.refused["inbox"] = 10**6
    assert _labelled(_scrape(metrics), "populace_messages_refused_total", "reason") == {"inbox": 2, "size": 1}


def test_scrapes_during_a_run_see_whole_ticks_only(metrics: Metrics) -> None:
    """Turns, messages and asks of one page are always those of one tick."""
    seen: list[tuple[float, float, float]] = []
    reading, over = threading.Event(), threading.Event()

    def scrape() -> None:
        while True:
            last = over.is_set()
            samples = _scrape(metrics)
            sent = samples["populace_messages_total", (("fate", "sent"),)]
            seen.append((samples["populace_tick", ()], samples["populace_turns_total", ()], sent))
            reading.set()
            if last:
                return

    scraper = threading.Thread(target=scrape)
    scraper.start()
    assert reading.wait(240)
    tell(metrics, reports(300))
    over.set()
    scraper.join()
    assert seen[-1][0] == 300
    assert all((turns, sent) == (AGENTS * tick, 10 * tick) for tick, turns, sent in seen)


def test_nothing_listens_and_no_thread_runs_after_the_end() -> None:
    before = set(threading.enumerate())
    metrics = Metrics()
    metrics.begin("polarization", AGENTS, 4, 2, "scripted")
    tell(metrics, reports(1))
    _scrape(metrics)
    assert len(threading.enumerate()) > len(before)
    metrics.end("completed", whole_manifest())
    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", metrics.port), timeout=60)
    metrics.close()


def test_a_scraper_that_says_nothing_holds_up_neither_others_nor_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    before = set(threading.enumerate())
    metrics = Metrics()
    metrics.begin("polarization", AGENTS, 4, 2, "scripted")
    with socket.create_connection(("127.0.0.1", metrics.port), timeout=60) as silent:
        assert ("populace_tick", ()) in _scrape(metrics), "served after the silent one was let in"
        metrics.close()
        assert set(threading.enumerate()) == before
        assert silent.recv(100) == b"", "it was hung up on"
    assert capfd.readouterr() == ("", "")


def test_a_port_in_use_is_a_clear_error_with_a_next_step() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        metrics = Metrics("127.0.0.1", port)
        with pytest.raises(SettingsError, match=rf"metrics_port = {port}: .*in use.*--metrics-port, or 0"):
            metrics.begin("polarization", AGENTS, 4, 2, "scripted")
        metrics.tick(next(event for event in reports(1) if isinstance(event, TickReport)))
        metrics.end("failed", {})


def test_a_host_that_is_not_there_is_a_clear_error() -> None:
    with pytest.raises(SettingsError, match=r"cannot listen on 192\.0\.2\.1:"):
        Metrics("192.0.2.1").begin("polarization", AGENTS, 4, 2, "scripted")


def test_only_loopback_listens(metrics: Metrics) -> None:
    assert metrics.url == f"http://127.0.0.1:{metrics.port}/metrics"
    listening = [c.laddr for c in psutil.Process().net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert [address.ip for address in listening if address.port == metrics.port] == ["127.0.0.1"]


def test_it_speaks_openmetrics_too(metrics: Metrics) -> None:
    tell(metrics, reports(1))
    with closing(http.client.HTTPConnection("127.0.0.1", metrics.port, timeout=60)) as connection:
        connection.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        answer = connection.getresponse()
        assert answer.getheader("Content-Type", "").startswith("application/openmetrics-text")
        assert answer.read().endswith(b"# EOF\n")
