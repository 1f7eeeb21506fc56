"""Shared fixtures."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# The same examples in every run, and no time limit for one: a neighbour on the machine must not fail a test.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


@pytest.fixture(scope="session")
def ray_cluster():
    """A Ray on this machine, started once: it takes about ten seconds."""
    ray = pytest.importorskip("ray")
    ray.init(address="local", include_dashboard=False, log_to_driver=False, configure_logging=False, num_cpus=4)
    yield ray
    ray.shutdown()
