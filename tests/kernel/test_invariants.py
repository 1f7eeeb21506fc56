"""The invariants of a run, each with a control that breaks the property on purpose."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.running import SOCIETIES, Shuffled, run_local, wrap_gateways

from populace.core.errors import ConservationError
from populace.core.records import Answer, Counts
from populace.env.acts import Singles
from populace.kernel import bus, committed, environment, tick, tick_end
from populace.store.tables.tables import read_table


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return run_local(tmp_path_factory.mktemp("reference"))


def in_strides(patch, stride):
    """Have turns begin, and be put down, so many at a time."""
    for module in (committed, tick):
        patch.setattr(module, "STRIDE", stride)


@pytest.mark.parametrize("shards", [2, 5])
def test_invariant_1_any_number_of_shards_gives_one_trace(tmp_path, reference, shards):
    manifest = run_local(tmp_path, shards=shards)
    assert manifest["trace_hashes"] == reference["trace_hashes"]
    assert manifest["world_hashes"] == reference["world_hashes"]
    assert manifest["asks"] == reference["asks"]
    assert manifest["messages"] == reference["messages"]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.integers(0, 2**32),
    shards=st.sampled_from([1, 2, 5]),
    live=st.sampled_from([3, 10_000]),
    stride=st.sampled_from([1, 3, 256]),
)
def test_invariant_1_any_order_of_answers_gives_one_trace(tmp_path_factory, reference, order, shards, live, stride):
    with pytest.MonkeyPatch.context() as patch:
        in_strides(patch, stride)
        wrap_gateways(patch, lambda gateway: Shuffled(gateway, order))
        manifest = run_local(tmp_path_factory.mktemp("shuffled"), shards=shards, limits__live_turns=live)
    assert manifest["trace_hash"] == reference["trace_hash"]
    assert manifest["world_hash"] == reference["world_hash"]


def test_control_without_the_bus_sort_shards_change_the_trace(tmp_path, monkeypatch):
    """Inboxes in the order in which frames arrive, rather than in the fair one."""
    monkeypatch.setattr(bus, "fair_order", lambda _seed, _tick, receiver, *_: np.argsort(receiver, kind="stable"))
    hashes = {run_local(tmp_path / str(n), shards=n)["trace_hash"] for n in (1, 2, 5)}
    assert len(hashes) > 1


def test_control_without_any_sort_the_order_of_answers_changes_the_trace(tmp_path, monkeypatch):
    """Messages committed in the order in which turns ended, inboxes in the order of arrival."""
    monkeypatch.setattr(bus, "fair_order", lambda _seed, _tick, receiver, *_: np.argsort(receiver, kind="stable"))
    monkeypatch.setattr(committed, "sorted", lambda turns, key: list(turns), raising=False)
    monkeypatch.setattr(committed, "pairwise", lambda _ids: [])
    assert len(shuffled(tmp_path)) > 1


def test_control_turns_in_order_within_their_stride_alone_change_the_trace(tmp_path, monkeypatch):
    monkeypatch.setattr(bus, "fair_order", lambda _seed, _tick, receiver, *_: np.argsort(receiver, kind="stable"))
    monkeypatch.setattr(committed, "pairwise", lambda _ids: [])
    in_strides(monkeypatch, 3)
    assert len(shuffled(tmp_path)) > 1


def shuffled(tmp_path):
    """The hashes under orders of answers, until two differ; twenty orders at most."""
    hashes = set()
    for order in range(20):
        if len(hashes) > 1:
            break
        with pytest.MonkeyPatch.context() as patch:
            wrap_gateways(patch, lambda gateway, order=order: Shuffled(gateway, order))
            hashes.add(run_local(tmp_path / str(order))["trace_hash"])
    return hashes


def test_another_seed_gives_another_trace(tmp_path, reference):
    assert run_local(tmp_path, seed=8)["trace_hash"] != reference["trace_hash"]


def test_tables_are_the_same_on_any_number_of_shards(tmp_path):
    for n in (1, 3):
        run_local(tmp_path / str(n), shards=n)
    for name in ("agents", "messages", "actions", "outcomes", "failures"):
        assert read_table(tmp_path / "1", name).equals(read_table(tmp_path / "3", name)), name
    asks = [read_table(tmp_path / n, "asks").drop_columns(["latency_s"]) for n in ("1", "3")]
    assert asks[0].equals(asks[1])


def test_invariant_5_everything_is_accounted_for(tmp_path):
    """Exceptions, abstentions, unknown recipients and full inboxes: the counts of the two sides agree."""
    manifest = run_local(tmp_path, shards=2, agents=40, bus__inbox_messages=3)
    messages, asks = manifest["messages"], manifest["asks"]
    assert manifest["turns_failed"] > 0
    assert set(messages["refused_by_reason"]) == {"unknown_recipient", "inbox_full"}
    assert messages["expired"] > 0
    assert messages["sent"] == messages["delivered"] + messages["expired"] + messages["refused"]
    assert asks["by_reason"]["refusal"] > 0
    assert asks["made"] == asks["answered"] + asks["cached"] + asks["replayed"] + asks["abstained"]
    table = read_table(tmp_path, "messages").to_pydict()
    assert len(table["fate"]) == messages["sent"]
    assert sum(fate == "delivered" for fate in table["fate"]) == messages["delivered"]
    assert read_table(tmp_path, "asks").num_rows == asks["made"]
    actions = read_table(tmp_path, "actions").to_pydict()
    assert len(actions["fate"]) == manifest["actions"]["taken"] > 0
    assert actions["fate"].count("applied") == manifest["actions"]["applied"]
    assert set(actions["kind"]) == {"feed.post"}
    assert all(json.loads(args)["text"].startswith("I think ") for args in actions["args"])
    assert read_table(tmp_path, "failures").num_rows == manifest["turns_failed"]


def test_control_a_lost_message_is_noticed(tmp_path, monkeypatch):
    route = bus.route
    monkeypatch.setattr(tick_end, "route", lambda out, **how: route(out, **how)[:-1])
    with pytest.raises(ConservationError, match="messages were sent"):
        run_local(tmp_path, shards=2)


def test_control_a_lost_action_is_noticed(tmp_path, monkeypatch):
    singly = environment.taken_singly

    def but_one(frames: Sequence[bus.Frame]) -> Singles:
        whole = singly(frames)
        args = whole.args_of(np.arange(1, len(whole)))
        return Singles(whole.agents[1:], whole.nth[1:], whole.kinds, whole.codes[1:], args)

    monkeypatch.setattr(environment, "taken_singly", but_one)
    with pytest.raises(ConservationError, match="actions were taken"):
        run_local(tmp_path)


def test_control_an_uncounted_abstention_is_noticed(tmp_path, monkeypatch):
    settle = Counts.settle

    def forgetful(self: Counts, answers: Iterable[tuple[Answer, str]]) -> None:
        settle(self, [(answer, purpose) for answer, purpose in answers if answer.settled != "abstained"])

    monkeypatch.setattr(Counts, "settle", forgetful)
    with pytest.raises(ConservationError, match="asks were made"):
        run_local(tmp_path)


def test_too_many_failed_turns_fail_the_run_and_what_was_there_is_saved(tmp_path):
    from populace.core.errors import RunFailed
    from populace.store.manifest import read_manifest

    with pytest.raises(RunFailed, match=r"limits\.failed_turns"):
        run_local(tmp_path, limits__failed_turns=0.001, ticks=30)
    manifest = read_manifest(tmp_path)
    assert manifest["status"] == "failed"
    assert 0 < manifest["ticks"] < 30
    messages = manifest["messages"]
    assert messages["sent"] == messages["delivered"] + messages["expired"] + messages["refused"]
    assert read_table(tmp_path, "messages").num_rows == messages["sent"]


def test_the_society_of_these_tests_does_everything(reference):
    assert SOCIETIES.endswith("societies.py")
    assert reference["actions"]["applied"] > 0
    assert set(reference["asks"]["by_purpose"]) == {"mood", "say"}
