"""One owner of a remote folder at a time: by a lease, in simulated time and over a real S3 server; runs that meet."""
# ruff: noqa: F811

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.attempts import Counting
from support.leases import Owner, World
from support.mirrored import remote, s3_environment, server  # noqa: F401 - fixtures
from support.running import SOCIETIES, settings_of, wrap_gateways
from support.s3_server import Gate, S3Server

from populace.core.errors import Interrupted, PopulaceError, StorageError
from populace.runs.resume import resume_run
from populace.runs.run import run_society
from populace.runs.stop import Stop
from populace.store.remote import lease as leases
from populace.store.remote.lease import OWNER, Claim, Lease, Watch, lease_store, read_claim
from populace.store.remote.mirror import Mirror

pytest.importorskip("s3fs")
SEEDS = 120


def both_hold(seed: int) -> tuple[bool, bool, bool]:
    """Two owners in a world of perils: whether both held at once, whether one asked under it who should not have.

    And whether the second came to own it at all.
    """
    world = World(seed)
    first, second = Owner(world), Owner(world)
    first.begin()
    first.requests.perils = True
    at_once = asked = False

    def look() -> None:
        nonlocal at_once, asked
        assert first.watch is not None
        if second.lease.holds():
            at_once |= first.lease.holds()
            asked |= first.watch.holds()

    world.at_each.append(look)
    world.advance(world.rng.uniform(0.0, 100.0))
    first.requests.cut = world.rng.random() < 0.7
    for _ in range(4):
        try:
            second.begin()
            break
        except StorageError:  # the first lives, as far as can be seen
            world.advance(world.rng.uniform(0.0, 30.0))
    owned = second.lease.holds()
    first.requests.cut = False
    world.advance(150.0)
    return at_once, asked, owned


def test_two_never_hold_it_at_once_whatever_becomes_of_their_requests_and_clocks() -> None:
    found = [both_hold(seed) for seed in range(SEEDS)]
    assert not any(at_once or asked for at_once, asked, _ in found)
    assert sum(owned for _, _, owned in found) > SEEDS // 3


@pytest.mark.parametrize("broken", ["fence", "wait", "request", "watch"])
def test_controls_where_both_hold_it(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """The owner does not look at its lease; the other does not wait; one counts from answers, or from what it sees."""
    if broken == "fence":
        monkeypatch.setattr(Lease, "holds", lambda self: self._until_s > float("-inf"))
    elif broken == "wait":
        monkeypatch.setattr(leases, "_SLACK", 0.5)
    elif broken == "request":

        def renew(self: Lease) -> bool:
            self._until_s = self._clock() + self.lease_s  # also where nothing was answered
            return real(self)

        real = Lease._renew
        monkeypatch.setattr(Lease, "_renew", renew)
    else:

        def look(self: Watch) -> None:
            see(self)
            if not self.lost:
                self._until_s = self._clock() + leases.LEASE_S

        see = Watch.look
        monkeypatch.setattr(Watch, "look", look)
    found = [both_hold(seed) for seed in range(SEEDS)]
    assert any(asked if broken == "watch" else at_once for at_once, asked, _ in found)


def test_a_lease_that_cannot_be_renewed_is_over_before_it_runs_out_and_comes_back(server: S3Server) -> None:
    world = World(1)
    owner = Owner(world)
    owner.begin()
    owner.requests.cut = True
    world.advance(55.0)
    assert owner.lease.holds()
    world.advance(10.0)
    assert not owner.lease.holds()
    assert not owner.lease.lost
    with pytest.raises(StorageError, match="cannot be renewed: the store is away"):
        owner.lease.check()
    owner.requests.cut = False
    world.advance(6.0)
    assert owner.lease.holds()
    owner.lease.check()


def over_s3(remote: str) -> Lease:
    lease = Lease(lease_store(remote))
    lease.lease_s = 600.0
    return lease


def test_over_a_real_store_an_owner_at_work_is_named_and_one_that_ended_is_followed(remote: str) -> None:
    one, two = over_s3(remote), over_s3(remote)
    one.take()
    assert one._heeds
    two._sleep = lambda _: one.renew()  # type: ignore[assignment,return-value]
    with pytest.raises(StorageError, match=r"process \d+ on .* is at work in it") as refused:
        two.take()
    assert remote in str(refused.value)
    one.release()
    assert not one.holds()
    two.take()
    assert two.holds()
    one.renew()
    found, _ = read_claim(two.store)
    assert found is not None
    assert found.holder == two.holder
    # It ends without a word: another waits for as long as the claim says, by its own clock.
    waited: list[float] = []
    three = over_s3(remote)
    three._clock = lambda: sum(waited)
    three._sleep = lambda seconds: waited.append(50.0 * seconds)
    three.take()
    assert sum(waited) > 600.0
    assert not two.renew()
    assert "is at work in it" in two.lost


def test_one_that_is_known_to_be_dead_is_followed_at_once(remote: str, tmp_path: Path) -> None:
    """It had the staging folder, which is held now, and all that asked was in its process."""
    with Mirror(remote, tmp_path / "run").owned() as first:
        assert first.lease is not None
        first.lease.keep_to(600.0, alone=True)
        holder = first.lease.holder
        for act in ("_put", "_read"):  # it is killed
            setattr(first.lease, act, lambda *_: (_ for _ in ()).throw(StorageError("dead")))
    assert (tmp_path / "run.owner").read_text() == holder
    with Mirror(remote, tmp_path / "run").owned(pytest.fail) as second:
        assert second.lease is not None
        assert second.lease.holds()
        second.lease.keep_to(600.0, alone=False)  # shards elsewhere may outlive it
        for act in ("_put", "_read"):
            setattr(second.lease, act, lambda *_: (_ for _ in ()).throw(StorageError("dead")))
    third = Lease(lease_store(remote), sleep=lambda _: (_ for _ in ()).throw(TimeoutError))
    with pytest.raises(TimeoutError):
        third.take((tmp_path / "run.owner").read_text())


def test_a_store_that_heeds_no_conditions_is_found_out_and_a_lease_is_waited_for() -> None:
    waited: list[float] = []
    lease = Lease(lease_store("memory://no-conditions"), sleep=waited.append)
    lease.take()
    assert not lease._heeds
    assert sum(waited) > leases.LEASE_S
    assert lease.holds()
    other = Claim("other", "process 1 on another", 0, 60.0)

    def while_it_waits(_: float) -> None:
        import msgspec

        second.store.put_if(OWNER, msgspec.json.encode(other), read_claim(second.store)[1])

    lease.release()
    second = Lease(lease_store("memory://no-conditions"), sleep=while_it_waits)
    with pytest.raises(StorageError, match="process 1 on another is at work"):
        second.take()


def test_who_owns_it_is_no_file_of_the_run(remote: str, tmp_path: Path) -> None:
    mirror = Mirror(remote, tmp_path / "run")
    with mirror.owned():
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "run.json").write_text('{"run": "r"}')
        mirror.push()
        assert OWNER in mirror.store.list()
        assert Mirror(remote, tmp_path / "copy").pull() == ["run.json"]
        assert mirror.lease is not None
        mirror.lease.lost = "another has it"
        mirror.lease._until_s = float("-inf")
        with pytest.raises(StorageError, match="another has it"):
            mirror.push()


@pytest.mark.parametrize("fenced", [True, False], ids=["fenced", "control"])
def test_a_run_that_is_cut_off_asks_nothing_once_another_has_taken_over(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fenced: bool
) -> None:
    """Two machines over one bucket. The first loses the store and goes on; the second goes on with its run."""
    monkeypatch.setattr(leases, "_OWNED", {})
    gate, remote = Gate(server.port), f"s3://bucket/met-{fenced}"
    asked: Counter[str] = Counter()

    class One(Counting):
        def offer(self, asks: Any, deliver: Any) -> None:
            asked[threading.current_thread().name] += len(asks)
            self.inner.offer(asks, deliver)

    wrap_gateways(monkeypatch, lambda gateway: One(gateway, []))
    if not fenced:
        monkeypatch.setattr(Lease, "holds", lambda self: self._until_s > float("-inf"))
    settings = settings_of(ticks=2000, model__latency__median_s=0.02, checkpoint__every_ticks=5)
    jumped: list[float] = []
    monkeypatch.setattr(leases, "clock_s", lambda: time.monotonic() + sum(jumped))
    ended: dict[str, Any] = {}
    cut, stop = threading.Event(), Stop()

    class Cutting:
        def __getattr__(self, _: str) -> Any:
            return lambda *_: None

        def tick(self, report: Any) -> None:
            if report.tick == 3:
                gate.cut()
                cut.set()

    def machine(name: str, url: str, work: Callable[[], Any]) -> threading.Thread:
        def play() -> None:
            try:
                ended[name] = work()
            except PopulaceError as error:
                ended[name] = error

        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        monkeypatch.setenv("POPULACE_CACHE", str(tmp_path / name))
        thread = threading.Thread(target=play, name=name)
        thread.start()
        return thread

    def until(holds: Callable[[], bool]) -> None:
        for _ in range(6000):
            if holds() or not second.is_alive():
                break
            time.sleep(0.02)
        assert holds(), ended

    first = machine("first", gate.url, lambda: run_society(SOCIETIES, settings, remote, [Cutting()]))
    assert cut.wait(240), ended
    second = machine("second", server.url, lambda: resume_run(remote, trust=True, stop=stop))
    while len(leases._OWNED) < 2 and second.is_alive():
        jumped.append(5.0)  # for both: a minute is over sooner
        time.sleep(0.2)
    until(lambda: asked["second"] > 0)
    before = asked["first"]
    assert before > 0
    until(lambda: asked["second"] > 200 if fenced else asked["first"] > before)
    stop()
    second.join(240)
    gate.open()
    first.join(240)
    gate.cut()
    assert isinstance(ended["second"], Interrupted), ended
    assert isinstance(ended["first"], StorageError), ended
    assert "has gone on with the run meanwhile" in str(ended["first"])
    assert (asked["first"] == before) == fenced
