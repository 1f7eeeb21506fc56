"""Shared fixtures."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from contextlib import suppress

import psutil
import pytest
from hypothesis import settings

# The same examples in every run, and no time limit for one: a neighbour on the machine must not fail a test.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # no test begins a Ray by a call of Ray's
os.environ.setdefault("POPULACE_PROGRESS_S", "0")  # tests that watch a run's lines wait for a tick

if "POPULACE_STATE" not in os.environ:  # what tests make is not the user's; workers and commands inherit it
    os.environ["POPULACE_STATE"] = tempfile.mkdtemp(prefix="populace-state-")
    atexit.register(shutil.rmtree, os.environ["POPULACE_STATE"], ignore_errors=True)


_OWN_RAY = ("test_lost_head", "test_lost_node", "test_mirror_runs", "test_canary")
"""Files whose tests begin a Ray of their own."""

_LONG = (
    "test_pages",
    "test_benchmarks",
    "test_house",
    "test_auditing",
    "test_running",
    "test_run_or_resume",
    "test_short_forms",
)
"""Files that take longest: begun last, one of them would hold a worker while the others are through."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests of one file on one worker, begin with those that take longest, and share a Ray where tests can.

    Tests in the shared Ray are one group, tests that begin a Ray of their own another, and those with the embedded
    model a third; most of their time is waiting for processes, so the groups go side by side.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item) or item.path.stem))
    items.sort(key=lambda item: (_group(item) is None, item.path.stem not in _LONG))


def _group(item: pytest.Item) -> str | None:
    if item.get_closest_marker("ray"):
        return "own ray" if item.path.stem in _OWN_RAY else "shared ray"
    return "embedded" if item.get_closest_marker("embedded") else None


@pytest.fixture(scope="session")
def ray_cluster():
    """A Ray on this machine, started once: it takes about ten seconds.

    Ray gives up what is not up after thirty, as on a machine with much else to do; then it is begun anew.
    """
    ray = pytest.importorskip("ray")
    others = psutil.Process().children(recursive=True)
    for left in reversed(range(5)):
        try:
            ray.init(address="local", include_dashboard=False, log_to_driver=False, configure_logging=False, num_cpus=4)
            break
        except Exception as error:
            if not left or "timed out" not in str(error):
                raise
            ray.shutdown()
            for begun in psutil.Process().children(recursive=True):
                if begun not in others:
                    with suppress(psutil.NoSuchProcess):
                        begun.kill()
    yield ray
    ray.shutdown()
