"""The page as a file that stays when the run has ended, and the file by which a Prometheus finds the run."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from populace.files import naming

PAGE = "metrics.prom"
"""The name of the page's file in a run's folder, as node_exporter's textfile collector wants it to end."""


def write_page(folder: Path, registry: CollectorRegistry) -> None:
    """Write the page into the run's folder. Raises StorageError."""
    _replace(folder / PAGE, generate_latest(registry))


def write_target(folder: Path, name: str, host: str, port: int, labels: Mapping[str, str]) -> Path:
    """Write a target for Prometheus' discovery by files (`file_sd_configs`), and give its path. Raises StorageError.

    Where the page listens on all of this machine's addresses, the target is the machine's name.
    """
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - it is compared with, nothing binds here
        host = socket.gethostname()
    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    path = folder / f"{name}.json"
    with naming(folder, "created"):
        folder.mkdir(parents=True, exist_ok=True)
    said = {key: value for key, value in labels.items() if value}
    _replace(path, json.dumps([{"targets": [at], "labels": said}], indent=2).encode() + b"\n")
    return path


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all for whoever reads it; a lost machine may lose it."""
    part = path.with_name(f".{path.name}.part")
    with naming(path, "written"):
        try:
            part.write_bytes(content)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
