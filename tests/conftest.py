"""Shared fixtures."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import pytest
from hypothesis import settings

# The same examples in every run, and no time limit for one: a neighbour on the machine must not fail a test.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

if "POPULACE_STATE" not in os.environ:  # what tests make is not the user's; workers and commands inherit it
    os.environ["POPULACE_STATE"] = tempfile.mkdtemp(prefix="populace-state-")
    atexit.register(shutil.rmtree, os.environ["POPULACE_STATE"], ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests of one file on one worker, and all that need a Ray, or the embedded model, on one, begun first."""
    for item in items:
        heavy = next((name for name in ("ray", "embedded") if item.get_closest_marker(name)), None)
        item.add_marker(pytest.mark.xdist_group(heavy or item.path.stem))
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)


@pytest.fixture(scope="session")
def ray_cluster():
    """A Ray on this machine, started once: it takes about ten seconds."""
    ray = pytest.importorskip("ray")
    ray.init(address="local", include_dashboard=False, log_to_driver=False, configure_logging=False, num_cpus=4)
    yield ray
    ray.shutdown()
