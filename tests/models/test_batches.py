"""The batch protocol, what is written down of batches, and the settings of both: nothing here is sent."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.client import ask

from populace.core.errors import SettingsError, StorageError
from populace.models.batch_record import BatchRecord, Unkept
from populace.models.batches import Batch, custom_id, ending_of, fitting, line, read_files, refusal_of
from populace.models.endings import Fault, Limited, Refused, Rejected, Said
from populace.settings import load_settings
from populace.store.journal.batches import KeptBatches, read_batches


def test_the_record_is_read_to_its_torn_end_and_damage_is_named(tmp_path) -> None:
    log = KeptBatches(str(tmp_path), run="r", shard=2, attempt=0)
    entries = [bytes([n]) * (n + 1) for n in range(5)]
    for entry in entries:
        log.put(entry)
    path = tmp_path / "s0002-a0000.batches"
    whole = path.read_bytes()
    assert KeptBatches(str(tmp_path), run="r", shard=0, attempt=1).read() == entries
    assert KeptBatches(str(tmp_path), run="r", shard=0, attempt=0).read() == []
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert read_batches(path, "r") == entries[: len(read_batches(path, "r"))]
    path.write_bytes(whole[:-1])
    assert read_batches(path, "r") == entries[:4]
    for at in range(8, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(StorageError, match="is damaged at byte"):
            read_batches(path, "r")
    path.write_bytes(whole)
    with pytest.raises(StorageError, match="of another run"):
        read_batches(path, "other")
    with pytest.raises(StorageError, match="cannot be created"):
        KeptBatches(str(tmp_path), run="r", shard=2, attempt=0).put(b"a second writer of one attempt")


def test_a_void_batchs_calls_are_free_and_another_endpoints_are_not_found() -> None:
    record = BatchRecord(Unkept("r", "w"), "http://here/v1")
    sent = record.gathered(["a", "b"], 1.0)
    assert record.find("a") is sent
    record.creating(sent, 2.0)
    assert record.find("a").since_s == 2.0
    record.void(sent, "no", 3.0)
    assert record.find("a") is None
    second = record.gathered(["a"], 4.0)
    assert second.name != sent.name
    record.made(second, "batch_1", 5.0)
    assert (record.find("a").id, record.find("b")) == ("batch_1", None)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 10), st.integers(1, 100))
def test_files_keep_to_both_limits_and_hold_a_line_at_least(sizes: list[int], most: int, most_bytes: int) -> None:
    taken = fitting(sizes, most, most_bytes)
    assert 1 <= taken <= most
    assert taken == 1 or sum(sizes[:taken]) <= most_bytes
    assert taken in (most, len(sizes)) or sum(sizes[: taken + 1]) > most_bytes


def test_a_calls_name_is_of_what_is_asked_and_of_who_asks() -> None:
    one = ask(1, str)
    names = {
        custom_id("own", 7, one, "text", (), 0),
        custom_id("own", 8, one, "text", (), 0),
        custom_id("own", 7, ask(2, str), "text", (), 0),
        custom_id("own", 7, msgspec.structs.replace(one, key=bytes(16)), "text", (), 0),
        custom_id("own", 7, one, "text", (("user", "again"),), 0),
        custom_id("own", 7, one, "text", (), 1),
        custom_id("own", 7, one, "schema", (), 0),
    }
    assert len(names) == 7
    assert all(len(name) <= 64 for name in names)
    other = msgspec.structs.replace(one, agent=5)
    assert custom_id("shared", 7, one, "text", (), 0) == custom_id("shared", 9, other, "text", (), 0)


def test_lines_and_files_are_read_as_they_are_written() -> None:
    text = line("n", b'{"model":"m"}')
    assert json.loads(text) == {
        "custom_id": "n", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m"}
    }  # fmt: skip
    content = b'{"custom_id":"a","response":{"status_code":200,"body":{"x":1}}}\nno json\n\n{"custom_id":"a"}\n'
    came = read_files([content, b'{"custom_id":"b","error":{"code":"batch_expired","message":"late"}}'])
    assert (came["a"].status, came["a"].body) == (200, b'{"x":1}')
    assert ending_of(came["a"], "completed", lambda body: Said(body.decode())) == Said('{"x":1}')
    assert isinstance(ending_of(came["b"], "expired", lambda _: Said("")), Fault)
    assert ending_of(None, "completed", lambda _: Said("")).billed
    assert not ending_of(None, "expired", lambda _: Said("")).billed
    assert isinstance(ending_of(read_files([_error_line(429)])["c"], "completed", lambda _: Said("")), Fault)
    assert isinstance(ending_of(read_files([_error_line(400)])["c"], "completed", lambda _: Said("")), Rejected)
    filtered = read_files([_error_line(400, "content_filter")])["c"]
    assert isinstance(ending_of(filtered, "completed", lambda _: Said("")), Refused)


def _error_line(status: int, code: str = "bad") -> bytes:
    error = {"error": {"message": "no", "code": code}}
    return json.dumps({"custom_id": "c", "response": {"status_code": status, "body": error}}).encode()


def test_a_failed_batchs_errors_are_read() -> None:
    def failed(*errors: Any) -> Batch:
        return Batch("b", "failed", errors={"data": list(errors)})

    lined = refusal_of(failed({"code": "x", "message": "bad", "line": 3}))
    assert list(lined.lines) == [2]
    assert lined.whole is None
    assert isinstance(refusal_of(failed({"code": "token_limit_exceeded", "message": "full"})).whole, Limited)
    assert isinstance(refusal_of(failed({"code": "x", "message": "bad", "line": None})).whole, Rejected)
    assert isinstance(refusal_of(Batch("b", "failed")).whole, Rejected)


def test_settings_that_do_not_go_with_batches_are_refused() -> None:
    ask_in_batches = {"model__kind": "openai", "model__name": "m"}
    with pytest.raises(SettingsError, match=r"endpoint.batches.on goes with neither replicas nor batch_prompts"):
        load_settings(None, ["endpoint.batches.on=true", "endpoint.batch_prompts=4",
                             "endpoint.base_url='http://127.0.0.1:1/v1'"], **ask_in_batches)  # fmt: skip
    with pytest.raises(SettingsError, match="most_requests"):
        load_settings(None, ["endpoint.batches.most_requests=50001"], **ask_in_batches)
    role = load_settings(None, ["model.roles.judge.endpoint.batches.on=true"], **ask_in_batches)
    assert (role.in_batches, role.of_role("judge").in_batches) == (False, True)


def test_a_poll_that_is_slower_than_the_slowest_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"poll_s = 20 is longer than poll_most_s = 5"):
        load_settings(None, ["endpoint.batches.poll_s=20.0", "endpoint.batches.poll_most_s=5.0"])
    assert load_settings(None, ["endpoint.batches.poll_s=5.0", "endpoint.batches.poll_most_s=5.0"])
