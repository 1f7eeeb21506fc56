"""What the model stack counts for those who watch: calls, waits, retries, shared calls."""

from __future__ import annotations

import asyncio

from support.client import ask, model, run
from support.misbehaving import Misbehaving, status

from populace.cluster.vitals import Meter
from populace.core.traffic import Traffic
from populace.models.cache.layer import Cached
from populace.models.dispatch.concurrency import Concurrency
from populace.models.dispatch.lanes import Lane
from populace.models.protocol import Pressure
from populace.models.scripted.gateway import Scripted


def counted(plan, asks, **settings):
    seen = []
    with Misbehaving(plan=plan) as server:
        run(model(server, **settings), asks, lambda gateway: seen.append(gateway.pressure()))
    return seen[0]


def test_calls_waits_and_retries_are_counted():
    pressure = counted([status(500), status(500)], [ask(agent) for agent in range(6)])
    traffic = pressure.traffic
    assert traffic.retries == {"fault": 2}
    assert sum(traffic.calls.values()) == sum(traffic.waiting) == 8
    assert traffic.waiting_s >= 0.0
    (load,) = pressure.endpoints.values()
    assert load.permits >= 1
    assert (load.in_use, load.breakers_open) == (0, 0)


def test_asks_that_share_a_call_are_counted():
    async def session():
        gateway = Cached(Scripted(seed=1), mode="shared", seed=1, cache=None)
        await gateway.open()
        alike = [ask(agent) for agent in range(3)]
        for one in alike:
            one.key, one.messages = alike[0].key, alike[0].messages
        gateway.offer(alike, lambda _answers: None)
        traffic = gateway.pressure().traffic
        await gateway.close()
        return traffic

    assert asyncio.run(session()).joined == 2


def test_no_secret_of_an_address_is_shown():
    lane = Lane("https://user:secret@host.example:8000/v1/?key=abc", Concurrency(4))
    assert lane.endpoint == "host.example:8000/v1"


def test_a_meter_gives_what_came_since_the_last_time():
    class Gateway:
        def __init__(self):
            self.traffic = Traffic()

        def pressure(self):
            return Pressure(traffic=self.traffic)

    gateway = Gateway()
    meter = Meter(0, gateway)
    gateway.traffic.retried("late")
    gateway.traffic.waited(0.3)
    first = meter.take_traffic()
    gateway.traffic.waited(0.7)
    second = meter.take_traffic()
    assert first.retries == {"late": 1}
    assert (sum(first.waiting), sum(second.waiting)) == (1, 1)
    assert second.retries["late"] == 0
    assert second.waiting_s == 0.7


def test_a_meter_sees_an_event_loop_that_is_late():
    async def session():
        meter = Meter(0, None)
        meter.begin()
        on_time = meter.read().lag_s
        meter._due_s -= 60.0
        late = meter.read().lag_s
        meter._woken(asyncio.get_running_loop())
        woken = meter.read().lag_s
        after = meter.read().lag_s
        meter.close()
        return on_time, late, woken, after

    on_time, late, woken, after = asyncio.run(session())
    assert max(on_time, after) < 30.0 < min(late, woken)
