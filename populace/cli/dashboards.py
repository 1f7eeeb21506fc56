"""`populace dashboards`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer


def dashboards(
    out: Annotated[Path, typer.Option(help="The folder to write into; it may be there.")] = Path("monitoring"),
    prometheus_url: Annotated[str, typer.Option(help="Where Grafana finds the Prometheus.")] = "http://127.0.0.1:9090",
) -> None:
    """Write configuration, rules and dashboards for a Prometheus and a Grafana that watch runs."""
    from populace.monitoring.shipped import TARGETS, write_dashboards

    write_dashboards(out, prometheus_url)
    here, targets = shlex.quote(str(out)), shlex.quote(str(out / TARGETS))
    typer.echo(
        f"prometheus: prometheus --config.file={here}/prometheus.yml --storage.tsdb.path={here}/data\n"
        f"grafana: GF_PATHS_PROVISIONING={shlex.quote(str(out.resolve()))}/grafana/provisioning grafana server, or "
        f"import the files of {here}/grafana/dashboards\n"
        f"runs: populace run SCENARIO --set metrics_targets={targets}"
    )
