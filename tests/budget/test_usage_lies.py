"""Usage that lies or is missing: a ceiling binds all the same, and the manifest says how much is estimated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.asking import asking, here
from support.misbehaving import Misbehaving
from support.misbehaving_quirks import shaped

from populace.budget.prices import credible, tokens_of
from populace.cluster.closing import spent_by
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import BudgetSpent
from populace.models import chat
from populace.runs.courses import resume_course
from populace.store.manifest import read_manifest, write_manifest

LIES: dict[str, Callable[[dict[str, int]], Any]] = {
    "zeros": lambda usage: dict.fromkeys(usage, 0),
    "ones": lambda usage: dict.fromkeys(usage, 1),
    "no answer's": lambda usage: {**usage, "completion_tokens": 0},
    "no prompt's": lambda usage: {**usage, "prompt_tokens": 0},
    "nothing": lambda _usage: None,
    "nulls": dict.fromkeys,
    "words": lambda usage: dict.fromkeys(usage, "many"),
    "a context's thousandfold": lambda usage: dict.fromkeys(usage, 10**9),
    "what no table holds": lambda usage: dict.fromkeys(usage, 10**18),
    "what no 64 bits hold": lambda usage: dict.fromkeys(usage, 10**19),
    "below nothing": lambda usage: {name: -count for name, count in usage.items()},
}
CEILING_USD = 0.01
PRICES = {"test-model": {"usd_per_million_tokens_in": 2.0, "usd_per_million_tokens_out": 6.0}}


def lying(name: str) -> Misbehaving:
    change = LIES[name]
    return Misbehaving(shaped(lambda answer, _request: {**answer, "usage": change(answer["usage"])}))


def cost_usd(server: Misbehaving) -> float:
    return (2.0 * server.billed.tokens_in + 6.0 * server.billed.tokens_out) * 1e-6


def options(server: Misbehaving, **more: Any) -> dict[str, Any]:
    asks = {"agents": 200, "ticks": 3, "shards": 2, "model__max_tokens": 20, "society": {"padding": 60}}
    return asking(server, **asks, budget__prices=PRICES, **more)


@pytest.mark.parametrize("name", LIES)
def test_a_ceiling_binds_whatever_the_endpoint_says_it_used(tmp_path: Path, name: str) -> None:
    with lying(name) as server:
        with pytest.raises(BudgetSpent):
            here(tmp_path, **options(server, budget__usd=CEILING_USD))
        assert 0.1 * CEILING_USD < cost_usd(server) <= CEILING_USD
        manifest = read_manifest(tmp_path)
        assert manifest["calls_billed"] == server.billed.calls
    assert manifest["estimated_tokens"] == manifest["tokens_in"] + manifest["tokens_out"] > 0
    assert manifest["estimated_usd"] == pytest.approx(manifest["cost_usd"])


def test_control_a_gateway_that_believes_zeros_passes_the_ceiling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "credible", lambda told, _characters: (max(0, told), True))
    with lying("zeros") as server:
        here(tmp_path, **options(server, budget__usd=CEILING_USD))
        assert cost_usd(server) > 2 * CEILING_USD


def test_what_can_be_true_is_believed_and_nothing_is_estimated(tmp_path: Path) -> None:
    with Misbehaving() as server:
        manifest = here(tmp_path, **options(server))
        assert manifest["tokens_in"] == server.billed.tokens_in
        assert manifest["cost_usd"] == pytest.approx(cost_usd(server))
    assert (manifest["estimated_tokens"], manifest["estimated_usd"]) == (0, 0.0)


@given(st.integers(-(2**40), 2**40), st.integers(0, 2**20))
def test_no_count_is_less_than_the_text_can_be(told: int, characters: int) -> None:
    tokens, believed = credible(told, characters)
    assert tokens * 32 >= characters
    assert tokens == (told if believed else tokens_of(characters))
    assert credible(tokens_of(characters), characters) == (tokens_of(characters), True)


def test_what_a_ceiling_has_booked_is_booked_in_every_later_attempt(tmp_path: Path) -> None:
    """Though no answer tells of it, as where calls broke off: the manifest's own sums are taken away here."""
    with lying("zeros") as server:
        with pytest.raises(BudgetSpent):
            here(tmp_path, **options(server, budget__usd=CEILING_USD))
        manifest, made = read_manifest(tmp_path), len(server.seen)
        assert 0.0 < manifest["booked"]["usd"] <= CEILING_USD
        write_manifest(tmp_path, {**manifest, "tokens_in": 0, "tokens_out": 0, "cost_usd": 0.0})
        assert spent_by(read_manifest(tmp_path)).usd == pytest.approx(manifest["booked"]["usd"])
        going = resume_course(tmp_path)
        run = Coordinator(going.origin, going.settings, LocalTransport(), tmp_path, (), going.course)
        with pytest.raises(BudgetSpent):
            asyncio.run(run.run())
        assert len(server.seen) - made <= 2, "what little is left under the ceiling"
