"""A Ray that neither starts nor refuses is given up after a while, with a word of what to do."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from populace.cluster import ray as over_ray
from populace.cluster import ray_connecting
from populace.core.errors import TransportError


@pytest.mark.parametrize(
    ("address", "said"),
    [("", "no Ray could be started on this machine within 0.05 s"), ("ray-head:6379", "RAY_ADDRESS=ray-head:6379 was")],
)
def test_a_ray_that_says_nothing_is_named_with_the_next_step(monkeypatch, address, said):
    silent, no_job = threading.Event(), Any
    monkeypatch.setattr(ray_connecting, "connect", lambda: silent.wait(240))
    monkeypatch.setattr(over_ray, "_CONNECTING_S", 0.05)
    monkeypatch.setattr(over_ray.ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", address)
    try:
        with pytest.raises(TransportError, match=said) as failed:
            asyncio.run(over_ray.RayTransport().start(no_job))  # type: ignore[arg-type]
    finally:
        silent.set()
    assert "populace doctor" in str(failed.value)
    assert failed.value.exit_code == 5
