"""A run's metrics page, scraped while it runs, adds up to its manifest."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest
from support.running import run_local

from populace.monitoring.metrics import Metrics


class Scraper:
    """Scrapes the page after each tick."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.pages: list[dict[str, float]] = []

    def begin(self, *_args) -> None: ...
    def pulse(self, _pulse) -> None: ...
    def note(self, _text) -> None: ...
    def end(self, _status, _manifest) -> None: ...

    def tick(self, _report) -> None:
        with urllib.request.urlopen(self.metrics.url, timeout=60) as page:
            lines = [line for line in page.read().decode().splitlines() if not line.startswith("#")]
        self.pages.append({name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)})


def test_a_scrape_during_a_run_adds_up_to_the_manifest(tmp_path):
    metrics = Metrics(port=0)
    scraper = Scraper(metrics)
    manifest = run_local(tmp_path, shards=2, observers=[metrics, scraper])
    turns = [page["populace_turns_total"] for page in scraper.pages]
    assert turns[:-1] == sorted(set(turns)), "the page moves with the run"
    last = scraper.pages[-1]
    assert last["populace_turns_total"] == manifest["turns"]
    for fate in ("sent", "delivered", "expired", "refused"):
        assert last[f'populace_messages_total{{fate="{fate}"}}'] == manifest["messages"][fate]
    for outcome in ("answered", "cached", "replayed", "surrogate", "abstained"):
        assert last[f'populace_asks_total{{outcome="{outcome}"}}'] == manifest["asks"][outcome]
    assert last["populace_calls_billed_total"] == manifest["calls_billed"]
    assert last['populace_tokens_total{direction="in"}'] == manifest["tokens_in"]
    assert last["populace_model_latency_seconds_count"] == manifest["calls_billed"]
    for purpose, part in manifest["asks"]["by_purpose"].items():
        assert last[f'populace_purpose_tokens_total{{direction="in",purpose="{purpose}"}}'] == part["tokens_in"]
        assert last[f'populace_purpose_abstained_total{{purpose="{purpose}",reason="refusal"}}'] == sum(
            part["abstained"].values()
        )
    assert not any("agent=" in name for name in last)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(metrics.url, timeout=60)
