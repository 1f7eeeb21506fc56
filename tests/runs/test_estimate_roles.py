"""What a run of two models by role will come to: each role's asks at its own price, and within its own limits."""

from __future__ import annotations

import io
import json

import pytest
from support import debate
from support.running import run_local, settings_of

from populace.cli.estimate import print_expected
from populace.data.societies import find_society
from populace.runs.estimate import expect, plan_of, play
from populace.runs.prediction import Bound

DEBATE = f"{debate.__file__}:society"
PRICES = {
    "talker": {"usd_per_million_tokens_in": 1.0, "usd_per_million_tokens_out": 2.0},
    "arbiter": {"usd_per_million_tokens_in": 30.0, "usd_per_million_tokens_out": 60.0},
}
JUDGE = {"name": "arbiter", "endpoint": {"base_url": "http://127.0.0.1:1/v1", "concurrency": 8}}


def options(**more):
    return {"model__name": "talker", "model__roles": {"judge": JUDGE}, "budget__prices": PRICES, "agents": 40,
            "ticks": 10, **more}  # fmt: skip


def test_each_roles_part_is_at_its_own_price(tmp_path):
    expected = expect(find_society(DEBATE), settings_of(**options()), agents=20, ticks=5)
    run = run_local(tmp_path, DEBATE, **options())
    parts = expected.estimate.purposes
    assert parts.keys() == {"say", "verdict (judge)"}
    assert [part.model_role for part in parts.values()] == ["", "judge"]
    for name, spent in (("say", run["asks"]["by_role"]["default"]["say"]),
                        ("verdict (judge)", run["asks"]["by_role"]["judge"]["verdict"])):  # fmt: skip
        assert parts[name].calls.mid == spent["calls"]
        assert parts[name].usd.low <= spent["cost_usd"] <= parts[name].usd.high, name
    usd = expected.estimate.usd
    assert usd.low <= run["cost_usd"] <= usd.high
    assert usd.mid == pytest.approx(parts["say"].usd.mid + parts["verdict (judge)"].usd.mid)
    assert parts["verdict (judge)"].usd.mid > 10 * parts["say"].usd.mid, "control: the judge's price is another"
    stream = io.StringIO()
    print_expected(expected, stream)
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    told = {(row["purpose"], row["model_role"]) for row in rows if row["event"] == "figure"}
    assert told == {("", ""), ("say", ""), ("verdict", "judge")}


def test_a_scripted_pilot_asks_no_role_and_the_run_is_bounded_by_each_ones_limits():
    """The judge's endpoint is not there at all, so a pilot that asked it would fail."""
    limits = {"endpoint": {**JUDGE["endpoint"], "requests_per_minute": 6.0}}
    settings = settings_of(
        **options(model__kind=None, model={"kind": "openai", "name": "talker", "roles": {"judge": JUDGE | limits}})
    )
    expected = expect(find_society(DEBATE), settings, agents=10, ticks=3, scripted=True)
    assert expected.pilot.scripted
    assert expected.estimate.bottleneck == "requests per minute of judge"
    assert expected.estimate.wall_s.mid == pytest.approx(60 * 400 / 6)
    pilot = play(find_society(DEBATE), settings, 10, 3, scripted=True)
    assert plan_of(settings, 40, 10, pilot).bounds == [
        Bound(("",), 64), Bound(("judge",), 8), Bound(("",)), Bound(("judge",), None, 6.0)
    ]  # fmt: skip
