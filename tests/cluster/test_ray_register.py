"""An account's text on a Ray: it outlives the run that made it, and ends once nobody calls."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from uuid import uuid4

import pytest
from support.asking import asking, run_on_ray
from support.misbehaving import Misbehaving

from populace.budget.shares import read_members
from populace.budget.sharing import Busy

pytestmark = pytest.mark.ray


@pytest.fixture(autouse=True)
def patient(monkeypatch, ray_cluster):
    """An actor may be slow to answer where much else is at work."""
    from populace.cluster import ray_register

    monkeypatch.setattr(ray_register, "_CALL_S", 240.0)


def eventually(what: Callable[[], bool], seconds: float = 240.0) -> bool:
    until_s = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < until_s:
        time.sleep(0.1)
    return found


def is_there(account: str) -> bool:
    import ray

    from populace.cluster.ray_register import NAMESPACE

    try:
        ray.get_actor(f"account-{account}", NAMESPACE)
    except ValueError:
        return False
    return True


def test_two_reach_one_text(ray_cluster):
    import ray

    from populace.cluster.ray_register import NAMESPACE, RayRegister

    account = uuid4().hex
    one, other = RayRegister(account, lonely_s=600.0), RayRegister(account)
    assert one.read() == (None, 0)
    assert one.write(b"text", 0)
    assert not other.write(b"late", 0)
    assert other.read() == (b"text", 1)
    ray.kill(ray.get_actor(f"account-{account}", NAMESPACE))


def test_it_ends_by_itself(ray_cluster):
    from populace.cluster.ray_register import RayRegister

    account = uuid4().hex
    one, other = RayRegister(account, lonely_s=1.0), RayRegister(account)
    assert one.read() == (None, 0)
    one.write(b"text", 0)
    assert eventually(lambda: not is_there(account))
    assert eventually(lambda: other.read() == (None, 0)), "and another is made where it is needed"


def test_one_that_was_lost_and_made_anew_takes_nobody_before_every_part_has_ended(ray_cluster):
    import ray

    from populace.cluster.ray_register import NAMESPACE, RayRegister

    account = uuid4().hex
    register = RayRegister(account, lonely_s=20.0, blind_s=3.0)
    register.read()
    assert register.write(b"text", 0)
    actor = ray.get_actor(f"account-{account}", NAMESPACE)
    os.kill(ray.get(actor.process.remote()), signal.SIGKILL)
    told: list[str] = []

    def reads() -> bool:
        try:
            return register.read() == (None, 0)
        except Busy as error:
            told.append(str(error))
            return False

    assert eventually(reads)
    assert any("was lost and made anew" in one for one in told)
    ray.kill(actor)


def test_a_run_on_ray_shares_its_limit_and_leaves(tmp_path, ray_cluster):
    from support.running import settings_of

    from populace.cluster.ray_register import members_text
    from populace.models.keys import account_names

    with Misbehaving() as endpoint:
        options = {**asking(endpoint, agents=4, ticks=1), "endpoint__requests_per_minute": 6000.0}
        options["endpoint__share_limits"] = "ray"
        manifest = run_on_ray(tmp_path / "run", **options)
        (account,) = account_names(settings_of(**options))
    assert manifest["asks"]["answered"] == 4
    assert manifest["shared_limits"] == {"at": "ray", "runs": 1, "apart": 0}
    assert read_members(members_text(account)) == [], "the actor outlives the run, and the run has left"
