"""How many series a Prometheus has of an experiment does not depend on how many agents there are."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import populace
from populace.core.traffic import EndpointLoad, Vitals
from populace.monitoring.metrics import families, observer
from populace.monitoring.report import TickReport

SHARDS = 8
ARMS = ("control", "a", "b", "c")

FILE = '''
from populace import Agent, Population, Society, World
from populace.env import Part, action

class Chatty(Agent):
    """Every agent asks for a purpose, and is refused for a reason, of its own."""
    n: int

    async def turn(self, ctx):
        await ctx.ask("What now?", purpose="plan")
        await ctx.ask("And then?", purpose=f"talk {ctx.id}", model_role="other")
        ctx.act("office.do")
        ctx.send(0, "hello")

class Office(Part):
    @action
    def do(self, tick, batch):
        for place in range(len(batch.agents)):
            batch.refuse(place, f"not_{batch.agents[place]}")

society = Society(name="chatty", agent=Chatty, population=lambda setup: Population({"n": [0] * setup.agents}), size=10,
                  ticks=3, world=lambda setup, people: World(Office()),
                  outcomes={f"outcome {n}": lambda world: 1.0 for n in range(5)})
'''


def series(page: str) -> set[str]:
    return {
        f"{sample.name}{sorted(sample.labels.items())}"
        for family in text_string_to_metric_families(page) for sample in family.samples
    }  # fmt: skip


@pytest.fixture
def as_on_ray(monkeypatch):
    """Shards that fare as on Ray, each in a process of its own and with two endpoints, where they really share one."""
    tick = observer.Metrics.tick

    def on_ray(self, report: TickReport) -> None:
        loads = {f"https://{name}.example/v1": EndpointLoad(4, 2) for name in ("one", "two")}
        report.vitals = [
            Vitals(shard, f"node/{shard}", 10**8, 0.01, 0.5, 0.1, loads) for shard in range(-1, SHARDS)
        ]  # fmt: skip
        tick(self, report)

    monkeypatch.setattr(observer.Metrics, "tick", on_ray)


def series_of_four_arms(folder: Path, agents: int) -> int:
    """How many series four runs of eight shards leave, each with what it asked and was refused."""
    (folder / "chatty.py").write_text(FILE)
    found = 0
    for arm in ARMS:
        out = folder / f"{arm}-{agents}"
        populace.run(
            folder / "chatty.py", agents=agents, model="scripted", shards=SHARDS, out=out, quiet=True,
            settings={"metrics_port": 0, "arm": arm, "experiment": "trial", "record.asks": False},
        )  # fmt: skip
        mine = series((out / "metrics.prom").read_text())
        assert any(f"('arm', '{arm}')" in one for one in mine)
        assert sum(one.startswith("populace_shard_turns_seconds_total") for one in mine) == SHARDS
        found += len(mine)
    return found


def test_four_arms_of_eight_shards_stay_under_2000_series_whatever_the_number_of_agents(tmp_path, as_on_ray):
    few, many = (series_of_four_arms(tmp_path, agents) for agents in (60, 300))
    assert few == many < 2000


def test_the_bound_is_what_keeps_it_so(tmp_path, as_on_ray, monkeypatch):
    """The control: labels whose words a society chooses would hold an agent each."""
    monkeypatch.setattr(families, "MOST_VALUES", 10**9)
    assert series_of_four_arms(tmp_path, 60) < 2000 * 2 < series_of_four_arms(tmp_path, 300)


def test_what_is_not_named_is_counted_under_other(tmp_path, as_on_ray):
    (tmp_path / "chatty.py").write_text(FILE)
    out = tmp_path / "out"
    run = populace.run(
        tmp_path / "chatty.py", agents=60, model="scripted", out=out, quiet=True, settings={"metrics_port": 0}
    )
    asks: dict[str, float] = {}
    for family in text_string_to_metric_families((out / "metrics.prom").read_text()):
        for sample in family.samples:
            if sample.name == "populace_purpose_asks_total":
                asks[sample.labels["purpose"]] = sample.value
    assert len(asks) == families.MOST_VALUES + 1
    assert sum(asks.values()) == run.manifest["asks"]["made"] == 60 * 2 * 3
    assert asks["other"] == (60 + 1 - families.MOST_VALUES) * 3
