"""Whole runs of the society that only asks, against a server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from populace.cluster.coordinator import Coordinator
from populace.data.societies import find_society
from support.misbehaving import Seen
from support.running import run_local, settings_of

ASKERS = str(Path(__file__).parent / "askers.py")


def asking(server: Any, **options: Any) -> dict[str, Any]:
    """The options of a run whose model is this server."""
    return {"model__kind": "openai", "endpoint__base_url": server.base_url, "model__name": "test-model", **options}


def here(out: Path, observers: Sequence[Any] = (), **options: Any) -> dict[str, Any]:
    """A run in this process."""
    return run_local(out, ASKERS, observers, **options)


def run_on_ray(out: Path, **options: Any) -> dict[str, Any]:
    """A run on the Ray of the tests."""
    from populace.cluster.ray import RayTransport

    settings = settings_of(transport="ray", **options)
    return asyncio.run(Coordinator(find_society(ASKERS), settings, RayTransport(), out).run())


def asker(seen: Seen) -> int:
    """Which agent a request is from."""
    assert seen.body is not None
    return int(seen.body["messages"][-1]["content"].split()[3].rstrip("."))


def busiest(arrived_s: Sequence[float], window_s: float) -> int:
    """The most requests in any window of so many seconds."""
    times = np.sort(np.asarray(arrived_s))
    return int((np.searchsorted(times, times + window_s) - np.arange(len(times))).max())
