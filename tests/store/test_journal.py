"""The journal: what is written is read and found, in canonical order, by attempt, from a position on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.journal_support import Pair, answer, read, write

from populace.core.errors import JournalDamaged, StorageError
from populace.core.records import Answer
from populace.store.journal import write as form
from populace.store.journal.index import JournalIndex
from populace.store.journal.read import Report, read_journal
from populace.store.journal.write import Journal, next_attempt

pairs_of = st.lists(
    st.tuples(
        st.binary(min_size=16, max_size=16),
        st.builds(
            Answer,
            agent=st.integers(-1, 2**42 - 1),
            tick=st.integers(0, 2**40),
            nth=st.integers(0, 2**20 - 1),
            settled=st.sampled_from(["answered", "cached", "replayed", "abstained"]),
            text=st.text(max_size=80),
            reason=st.text(max_size=8),
            calls=st.integers(0, 9),
            cost_usd=st.floats(0, 1e9),
            latency_s=st.floats(0, 1e9),
        ),
    ),
    max_size=40,
    unique_by=lambda pair: (pair[1].tick, pair[1].agent, pair[1].nth),
)


@settings(max_examples=60, deadline=None)
@given(
    pairs=pairs_of,
    batch=st.integers(1, 7),
    segment_bytes=st.sampled_from([1, 300, 2000, 10**6]),
    policy=st.sampled_from(["process", "machine"]),
    close=st.booleans(),
)
def test_what_is_written_is_read_and_found(
    tmp_path_factory: pytest.TempPathFactory,
    pairs: list[Pair],
    batch: int,
    segment_bytes: int,
    policy: str,
    close: bool,
) -> None:
    folder = tmp_path_factory.mktemp("j")
    end = write(folder, pairs, batch, close, segment_bytes=segment_bytes, policy=policy)
    report = Report()
    assert read(folder, report=report, run="r") == pairs
    assert not report.torn
    assert report.closed == ({(0, 0)} if close else set())
    assert close or report.ends[0, 0] == end
    with JournalIndex(read_journal(folder)) as index:
        assert len(index) == len(pairs)
        for key, one in pairs:
            found = index.find(one.agent, one.tick, one.nth)
            assert found is not None
            assert (found.key, found.answer) == (key, one)
        assert index.find(12345, 2**41, 0) is None
        assert index.ticks() == sorted({one.tick for _, one in pairs})
    shutil.rmtree(folder)


def test_an_empty_or_missing_folder_holds_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == []
    assert next_attempt(tmp_path / "none") == 0
    with JournalIndex(read_journal(tmp_path)) as index:
        assert (len(index), index.ticks(), index.find(0, 0, 0)) == (0, [], None)


def test_a_position_skips_what_stands_before_it_and_is_checked(tmp_path: Path) -> None:
    pairs = [answer(n) for n in range(40)]
    journal = Journal(tmp_path, run="r", shard=0, attempt=0, segment_bytes=900)
    positions = [journal.position]
    for pair in pairs:
        journal.append([pair])
        positions.append(journal.position)
    journal.close()
    assert positions[-1].segment > 2
    for position in positions:
        report = Report()
        assert read(tmp_path, since=[position], report=report) == pairs[position.records :]
        assert report.ends[0, 0].records == len(pairs)
    late = positions[-1]
    file = tmp_path / form.segment_name(0, 0, late.segment)
    file.write_bytes(file.read_bytes()[: late.offset - 1])
    with pytest.raises(JournalDamaged, match="a checkpoint refers to byte"):
        read(tmp_path, since=[late])
    file.unlink()
    with pytest.raises(JournalDamaged, match="is missing"):
        read(tmp_path, since=[late])


def test_the_highest_attempt_counts_and_a_late_writer_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [answer(1, "first"), answer(2, "first")], close=False)
    assert next_attempt(tmp_path) == 1
    write(tmp_path, [answer(2, "second"), answer(3, "second")], attempt=1)
    with JournalIndex(read_journal(tmp_path)) as index:
        texts = [found.answer.text for n in (1, 2, 3) if (found := index.find(n, 0, 0))]
    assert texts == ["first", "second", "second"]
    for attempt in (0, 1):
        with pytest.raises(StorageError, match="attempt=2"):
            Journal(tmp_path, run="r", shard=0, attempt=attempt)


def test_two_answers_to_one_ask_in_one_attempt_are_refused_unless_they_are_equal(tmp_path: Path) -> None:
    write(tmp_path / "same", [answer(1), answer(1)])
    with JournalIndex(read_journal(tmp_path / "same")) as index:
        assert len(index) == 1
    write(tmp_path / "two", [answer(1, "a"), answer(1, "b")])
    with pytest.raises(JournalDamaged, match="two different answers to ask 0 of agent 1"):
        JournalIndex(read_journal(tmp_path / "two"))


def test_another_run_or_version_is_named(tmp_path: Path) -> None:
    write(tmp_path, [answer(1)])
    with pytest.raises(StorageError, match="is of run r, not of other"):
        read(tmp_path, run="other")
    file = tmp_path / form.segment_name(0, 0, 0)
    file.write_bytes(b"popjrnl\x02" + file.read_bytes()[8:])
    with pytest.raises(JournalDamaged, match="a journal of this version"):
        read(tmp_path)


def test_sizes_are_bounded_at_both_ends(tmp_path: Path) -> None:
    journal = Journal(tmp_path, run="r", shard=0, attempt=0)
    journal.append([answer(1)])
    with pytest.raises(StorageError, match="agent 2 in tick 0 takes"):
        journal.append([answer(3), answer(2, "x" * form.RECORD_BYTES)])
    with pytest.raises(ValueError, match="16 bytes"):
        journal.append([answer(3), (b"short", answer(3)[1])])
    journal.append([answer(4, "x" * 5000)])
    journal.close()
    assert [a.agent for _, a in read(tmp_path)] == [1, 4]
    with pytest.raises(JournalDamaged, match="are allowed"):
        read(tmp_path, record_bytes=4000)
