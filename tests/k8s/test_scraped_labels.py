"""What the PodMonitor makes of a pod's labels: the names by which rules and dashboards tell runs apart."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import suppress
from typing import Any

import pytest
import yaml
from support.manifests import documents

from populace.monitoring.shipped import GRAFANA, shipped

META = "__meta_kubernetes_"
RAY, JOB, INDEX = "ray_io_cluster", "batch_kubernetes_io_job_name", "batch_kubernetes_io_job_completion_index"


def relabelings(overlay: str) -> list[dict[str, Any]]:
    """The rules as Prometheus writes them, where the operator's have their words in camel case."""
    (monitor,) = [one for one in documents(overlay) if one["kind"] == "PodMonitor"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert not endpoint.get("honorLabels"), "populace_run_info says its run in its own words"
    return [
        {re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", key): value for key, value in rule.items()}
        for rule in endpoint["relabelings"]
    ]


PODS: list[tuple[dict[str, str], str]] = [
    ({RAY: "run-x7k2p"}, "my-study/run"),  # a RayJob's attempt
    ({RAY: "run-b4zzq"}, "my-study/run"),  # its next one
    ({RAY: "dose-two-x7k2p"}, "my-study/dose-two"),
    ({RAY: "interactive"}, "my-study/interactive"),  # a RayCluster's name stands alone
    ({RAY: "my-study"}, "my-study/my-study"),
    ({JOB: "seeds", INDEX: "3", "populace_arm": "a", "populace_experiment": "e"}, "my-study/seeds-3"),
    ({JOB: "seeds-treated", INDEX: "11"}, "my-study/seeds-treated-11"),
]


@pytest.fixture(scope="module")
def scraped(tmp_path_factory):
    """The labels that a Prometheus gives to each pod's series, by all rules, and by all but one."""
    if shutil.which("prometheus") is None:
        pytest.skip("needs prometheus, of Debian's package prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    found = [
        {
            # Addresses at which nothing answers: what is looked at is their labels.
            "targets": [f"127.0.0.1:{port}"],
            "labels": {f"{META}namespace": "my-study", **{f"{META}pod_label_{key}": one for key, one in pod.items()}},
        }
        for port, (pod, _) in enumerate(PODS, 1)
    ]
    (folder / "pods.json").write_text(json.dumps(found))
    rules = relabelings("run-s3")
    ways = {"all": rules, **{f"not {left}": rules[:left] + rules[left + 1 :] for left in range(len(rules))}}
    discovery = [{"files": [str(folder / "pods.json")]}]
    jobs = [{"job_name": way, "relabel_configs": given, "file_sd_configs": discovery} for way, given in ways.items()]
    config = {"global": {"scrape_interval": "1h"}, "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{free.getsockname()[1]}"
    server = subprocess.Popen(
        [
            "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={at}", "--log.level=error",
        ]
    )  # fmt: skip
    try:
        targets: list[dict[str, Any]] = []
        for _ in range(1200):
            with suppress(OSError), urllib.request.urlopen(f"http://{at}/api/v1/targets", timeout=60) as answer:
                targets = json.load(answer)["data"]["activeTargets"]
            if len(targets) == len(ways) * len(PODS):
                break
            time.sleep(0.1)
    finally:
        server.kill()
        server.wait()
    told: dict[str, list[dict[str, str]]] = {way: [{} for _ in PODS] for way in ways}
    for target in targets:
        labels = target["labels"]
        told[labels.pop("job")][int(labels.pop("instance").rpartition(":")[2]) - 1] = labels
    return told


def test_a_run_has_one_name_in_all_its_attempts(scraped):
    assert [labels["run"] for labels in scraped["all"]] == [run for _, run in PODS]
    assert [set(labels) for labels in scraped["all"] if "arm" not in labels] == [{"run"}] * (len(PODS) - 1)


def test_the_labels_of_pods_name_experiment_and_arm(scraped):
    assert scraped["all"][5] == {"run": "my-study/seeds-3", "experiment": "e", "arm": "a"}


def test_control_without_a_rule_labels_are_missing(scraped):
    assert [("run" in labels) for labels in scraped["not 0"]] == [False] * 5 + [True] * 2
    assert [("run" in labels) for labels in scraped["not 1"]] == [True] * 5 + [False] * 2
    assert scraped["not 2"][5] == {"run": "my-study/seeds-3"}


def test_rules_and_dashboards_are_those_that_ship():
    found = documents("run-s3")
    (rules,) = [one for one in found if one["kind"] == "PrometheusRule"]
    assert rules["spec"] == yaml.safe_load(shipped("rules.yml"))
    (dashboards,) = [one for one in found if one["metadata"]["name"] == "populace-dashboards"]
    assert dashboards["data"] == {name: shipped(name).decode() for name in GRAFANA}
    assert dashboards["metadata"]["labels"]["grafana_dashboard"] == "1"
