"""The configuration for Prometheus and Grafana that ships with populace, written out. Shell: files."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Final

from populace.files import naming, write_whole

PROMETHEUS: Final = ("prometheus.yml", "rules.yml")
GRAFANA: Final = ("run.json", "fleet.json")
TARGETS: Final = "targets"
"""The folder in which Prometheus looks for runs (`metrics_targets`)."""


def shipped(name: str) -> bytes:
    """The content of one of these files."""
    room = "prometheus" if name in PROMETHEUS else "grafana"
    return (files("populace.monitoring") / room / name).read_bytes()


def write_dashboards(out: Path, prometheus_url: str = "http://127.0.0.1:9090") -> list[Path]:
    """Write all of it into a folder, over what an earlier version wrote, and give the files' paths.

    Prometheus starts with `prometheus.yml`; Grafana takes `grafana/provisioning` as its folder of provisioning, or
    each dashboard by hand. Raises StorageError.
    """
    out = out.resolve()
    dashboards = out / "grafana" / "dashboards"
    source = {"name": "populace", "type": "prometheus", "access": "proxy", "url": prometheus_url, "isDefault": True}
    provider = {"name": "populace", "type": "file", "options": {"path": str(dashboards)}}
    made = {
        **{out / name: shipped(name) for name in PROMETHEUS},
        **{dashboards / name: shipped(name) for name in GRAFANA},
        # JSON is YAML, which is what Grafana reads there.
        out / "grafana/provisioning/datasources/populace.yml": _json({"apiVersion": 1, "datasources": [source]}),
        out / "grafana/provisioning/dashboards/populace.yml": _json({"apiVersion": 1, "providers": [provider]}),
    }
    for folder in {out / TARGETS, *(path.parent for path in made)}:
        with naming(folder, "created"):
            folder.mkdir(parents=True, exist_ok=True)
    for path, content in made.items():
        write_whole(path, content)
    return list(made)


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"
