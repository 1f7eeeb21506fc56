"""Whole runs on endpoints as they are in the wild: what was asked for is read wherever it came in a readable form."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.asking import asking
from support.misbehaving import Misbehaving
from support.misbehaving_quirks import QUIRKS
from support.running import run_local

from populace.core.errors import ModelError
from populace.store.tables.tables import read_table

SOCIETY = str(Path(__file__).parents[1] / "support" / "three_asks.py")
ASKS = 54


def _plain(text: str) -> Any:
    """What an answer says, whatever its spelling."""
    if not text.startswith("{"):
        return text
    return tuple(sorted((name, str(value).casefold()) for name, value in json.loads(text).items() if value is not None))


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("name", QUIRKS)
def test_a_run_on_an_endpoint_with_a_quirk(tmp_path: Path, name: str, shards: int) -> None:
    quirk = QUIRKS[name]
    with Misbehaving(quirk.plan) as server:
        options = asking(server, shards=shards, endpoint__retries=1, **quirk.settings)
        if quirk.stops:
            with pytest.raises(ModelError) as stopped:
                run_local(tmp_path, SOCIETY, **options)
            for words in quirk.stops:
                assert words in str(stopped.value)
            assert stopped.value.exit_code == 4
            assert len(server.seen) <= quirk.calls
            return
        manifest = run_local(tmp_path, SOCIETY, **options)
        seen, billed, invented = list(server.seen), server.billed.calls, list(server.invented)
    asks, lost = manifest["asks"], sum(quirk.lost.values())
    assert manifest["status"] == "complete"
    assert asks["by_reason"] == quirk.lost
    assert asks["answered"] == ASKS - lost
    assert billed <= ASKS - lost + quirk.more
    assert manifest["calls_billed"] == billed
    refused = sum(one.status != 200 for one in seen)
    assert len(seen) == billed + refused
    for count in quirk.counts:
        assert asks[count] > 0
    assert sum(asks[count] for count in ("cut", "extracted", "coerced")) == sum(asks[name] for name in quirk.counts)
    assert asks["left_out"] == quirk.left_out
    table = read_table(tmp_path, "asks").to_pydict()
    answers = [text for text in table["answer"] if text is not None]
    assert any(table["reasoning"]) == quirk.reasoning
    assert not any("think>" in text for text in answers)
    if "logprob" not in name:  # a label is drawn from its probabilities, which the server doesn't
        told = [text.removesuffix(" \ufffd") for text in answers]
        assert (told != answers) == (name == "surrogates")
        assert Counter(map(_plain, told)) == Counter(map(_plain, invented))


@pytest.mark.parametrize(
    ("name", "broken", "by"),
    [
        ("think block", "populace.models.chat.without_thinking", lambda text: (text, "")),
        ("fences", "populace.models.reading._only_value", lambda _text, _schema: None),
        ("other cases and types", "populace.models.reading._fitted", lambda _spec, _text, _found: None),
        ("seed", "populace.models.chat.Writer.learn", lambda _self, _ask, _sent, _refused: False),
        ("a stream of events", "populace.models.bodies._of_stream", lambda _text: None),
    ],
)
def test_control_without_its_rule_a_quirk_costs_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, broken: str, by: Any
) -> None:
    monkeypatch.setattr(broken, by)
    with Misbehaving(QUIRKS[name].plan) as server:
        options = asking(server, endpoint__retries=0, endpoint__outage_s=0.5, ticks=1)
        try:
            manifest = run_local(tmp_path, SOCIETY, **options)
        except ModelError:
            return
    table = read_table(tmp_path, "asks").to_pydict()
    assert manifest["asks"]["abstained"] > 0 or any("think>" in (text or "") for text in table["answer"])
