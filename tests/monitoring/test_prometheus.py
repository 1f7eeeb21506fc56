"""The rules, the dashboards and the scrape configuration that ship, under a real Prometheus that scraped a real run."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.misbehaving import Misbehaving, status
from support.running import SOCIETIES, settings_of

from populace.monitoring.shipped import GRAFANA, TARGETS, shipped, write_dashboards
from populace.runs.run import run_society

RULES = Path(__file__).parents[2] / "populace" / "monitoring" / "prometheus" / "rules.yml"
RULE_TESTS = Path(__file__).parent / "rules_test.yml"

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool, of Debian's package prometheus"
)
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="needs prometheus, of Debian's package prometheus"
)


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=240, check=False)


@needs_promtool
def test_the_rules_and_the_configuration_are_good(tmp_path):
    write_dashboards(tmp_path)
    for what, name in (("rules", "rules.yml"), ("config", "prometheus.yml")):
        found = promtool("check", what, str(tmp_path / name))
        assert found.returncode == 0, found.stdout + found.stderr


@needs_promtool
def test_each_alert_fires_where_it_should_and_nowhere_else():
    found = promtool("test", "rules", str(RULE_TESTS))
    assert found.returncode == 0, found.stdout + found.stderr
    alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    assert alerts == set(re.findall(r"alertname: (\w+)", RULE_TESTS.read_text()))


@needs_promtool
@pytest.mark.parametrize(
    ("was", "is_now"),
    [
        ("idle_seconds > 600", "idle_seconds > 6000"),
        ("ratio10m > 0.05", "ratio10m > 0.005"),
        ("projected_ratio > 1", "projected_ratio > 3"),
        ("populace_breakers_open > 0", "populace_breakers_open > 2"),
        ("growth_per_hour > 0.25", "growth_per_hour > 0.5"),
        ("increase(populace_deaths_total[15m]) > 0", "increase(populace_deaths_total[15m]) > 5"),
        ('expr: up{job=~"(.+/)?populace"} < 1', 'expr: up{job=~"(.+/)?populace"} < 0'),
        ('max_over_time(up{job=~"(.+/)?populace"}[1d]) < 1', 'max_over_time(up{job=~"(.+/)?populace"}[1d]) < 0'),
    ],
)
def test_a_rule_that_is_wrong_fails_its_test(tmp_path, was, is_now):
    """The negative controls of the test above."""
    rules = RULES.read_text()
    assert was in rules
    (tmp_path / "rules.yml").write_text(rules.replace(was, is_now))
    (tmp_path / "test.yml").write_text(RULE_TESTS.read_text().replace("../../populace/monitoring/prometheus/", ""))
    assert promtool("test", "rules", str(tmp_path / "test.yml")).returncode != 0


def test_the_dashboards_that_ship_are_what_their_code_makes():
    make = pytest.importorskip("dashboards.make", reason="needs grafana-foundation-sdk, of the extra test")
    made = make.dashboards()
    assert set(made) == set(GRAFANA)
    for name, text in made.items():
        assert shipped(name).decode() == text, f"{name}: run python -m dashboards"


def test_what_is_written_leads_from_one_to_the_other(tmp_path):
    """Grafana is told where the dashboards are; a second time changes nothing, and leaves targets alone."""
    paths = write_dashboards(tmp_path / "new")
    target = tmp_path / "new" / TARGETS / "run.json"
    target.write_text("[]")
    before = {path: path.read_bytes() for path in paths}
    assert write_dashboards(tmp_path / "new") == paths
    assert {path: path.read_bytes() for path in paths} == before
    assert target.exists()
    provider = json.loads((tmp_path / "new/grafana/provisioning/dashboards/populace.yml").read_text())
    folder = Path(provider["providers"][0]["options"]["path"])
    assert {path.name for path in folder.iterdir()} == set(GRAFANA)


def expressions(name: str) -> Iterator[tuple[str, str]]:
    """Each expression of a dashboard, with the title of its panel."""
    for panel in json.loads(shipped(name))["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


class Prometheus:
    """A Prometheus that watches a folder as `populace dashboards` writes it, but more often."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.at = f"127.0.0.1:{free.getsockname()[1]}"
        config = (folder / "prometheus.yml").read_text()
        for was, often in (
            ("scrape_interval: 5s", "scrape_interval: 250ms"),
            ("evaluation_interval: 15s", "evaluation_interval: 500ms"),
            ("refresh_interval: 10s", "refresh_interval: 250ms"),
        ):
            assert was in config
            config = config.replace(was, often)
        (folder / "prometheus.yml").write_text(config)
        self.process = subprocess.Popen(
            [
                "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={self.at}", "--log.level=error",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def get(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"http://{self.at}{path}?{urllib.parse.urlencode(query)}", timeout=60) as answer:
            return json.load(answer)["data"]

    def values(self, expression: str) -> list[float]:
        return [float(one["value"][1]) for one in self.get("/api/v1/query", query=expression)["result"]]

    def wait_until_ready(self) -> None:
        for _ in range(2400):
            try:
                with urllib.request.urlopen(f"http://{self.at}/-/ready", timeout=60):
                    return
            except (OSError, urllib.error.URLError):
                time.sleep(0.1)
        raise AssertionError("Prometheus does not start")


@contextmanager
def prometheus(folder: Path) -> Iterator[Prometheus]:
    server = Prometheus(folder)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.process.kill()
        server.process.wait()


class Patient:
    """Takes its time at each tick, until the rules know the run; then asks the Prometheus everything."""

    def __init__(self, server: Prometheus) -> None:
        self.server = server
        self.found: dict[tuple[str, str], list[float]] = {}
        self.alerts: list[str] = []
        self.run = ""

    def begin(self, *_args) -> None: ...
    def pulse(self, _pulse) -> None: ...
    def note(self, _text) -> None: ...
    def end(self, _status, _manifest) -> None: ...

    def tick(self, report) -> None:
        time.sleep(0.3)
        if report.tick < 8 or self.found:
            return
        for _ in range(1200):
            if all(map(self.server.values, ("populace:quota:used_ratio > 0", "populace:memory:growth_per_hour"))):
                break
            time.sleep(0.2)
        (self.run,) = {
            one["metric"]["run"] for one in self.server.get("/api/v1/query", query="populace_tick")["result"]
        }
        for name in GRAFANA:
            for title, expression in expressions(name):
                asked = expression.replace("$run", self.run).replace("$experiment", ".*")
                self.found[f"{name}: {title}", expression] = self.server.values(
                    asked.replace("$__rate_interval", "10s")
                )
        for group in self.server.get("/api/v1/rules")["groups"]:
            for rule in group["rules"]:
                if any(one["state"] == "firing" for one in rule.get("alerts", ())):
                    self.alerts.append(rule["name"])
                side = re.sub(r" (>|<) [\d.]+$", "", rule["query"].split(" unless ")[0].strip().replace("\n", " "))
                self.found[rule["name"], side] = self.server.values(side)


@needs_prometheus
def test_every_expression_of_rules_and_dashboards_finds_what_it_asks_for(tmp_path):
    """In a run that Prometheus found by its file; it asks a model over HTTP, within a budget and a quota."""
    write_dashboards(tmp_path / "watch")
    with prometheus(tmp_path / "watch") as server, Misbehaving(plan=[status(500)]) as endpoint:
        patient = Patient(server)
        settings = settings_of(
            model__kind="openai",
            model__name="test-model",
            endpoint__base_url=endpoint.base_url,
            endpoint__requests_per_minute=60_000.0,
            budget__usd=5.0,
            budget__prices={"test-model": {"usd_per_million_tokens_in": 1.0, "usd_per_million_tokens_out": 1.0}},
            metrics_targets=str(tmp_path / "watch" / TARGETS),
            checkpoint__every_ticks=1,
            experiment="trial",
            arm="treated",
            shards=2,
            ticks=10,
        )
        run_society(SOCIETIES, settings, tmp_path / "run", [patient])
        assert not list((tmp_path / "watch" / TARGETS).iterdir())
        with pytest.raises(AssertionError, match="nothing"):
            _check({("a metric that there is not", "x"): server.values("populace_no_such_metric")})
    assert len(patient.found) > 60
    assert patient.run == json.loads((tmp_path / "run" / "run.json").read_text())["run"]
    _check(patient.found)
    assert patient.alerts == [], "all is well with this run"


def _check(found: dict[tuple[str, str], list[float]]) -> None:
    empty = [at for at, values in found.items() if not values]
    assert not empty, f"nothing is found for {empty}"
