"""A damaged journal: every damage is noticed and named, and nothing false is read as good."""

from __future__ import annotations

import os
import random
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from support.damaging import corrupt
from support.journal_support import Pair, answer, read, read_until_damage, write

from populace.core.errors import JournalDamaged, StorageError
from populace.store.journal import write as form
from populace.store.journal.index import JournalIndex
from populace.store.journal.read import Report, read_journal
from populace.store.journal.write import Journal, Position, segments


@pytest.mark.parametrize("policy", ["process", "machine"])
def test_a_tail_torn_at_any_byte_is_reported_and_costs_no_more_than_itself(tmp_path: Path, policy: str) -> None:
    pairs = [answer(n, "text " * n) for n in range(5)]
    before = write(tmp_path / "four", pairs[:4], 1, close=False, policy=policy).offset
    end = write(tmp_path / "five", pairs, 1, close=False, policy=policy).offset
    file = tmp_path / "five" / form.segment_name(0, 0, 0)
    whole = file.read_bytes()
    assert len(whole) == end
    start = before  # under `machine` a mark stands between the fourth record and the fifth
    if policy == "machine":
        start += form.FRAME_BYTES + form.MARK_BYTES
    for cut in range(before, end + 1):
        file.write_bytes(whole[:cut])
        report = Report()
        assert read(file.parent, report=report) == (pairs if cut == end else pairs[:4])
        assert len(report.torn) == (cut not in (before, start, end))
        for torn in report.torn:
            assert torn.offset in (before, start)
            assert torn.offset + torn.lost_bytes == cut


@pytest.mark.parametrize("policy", ["process", "machine"])
def test_a_wrong_byte_in_an_open_journal_is_damage_unless_it_may_never_have_been_synced(
    tmp_path: Path, policy: str
) -> None:
    pairs = [answer(n, "x" * 50) for n in range(10)]
    journal = Journal(tmp_path, run="r", shard=0, attempt=0, policy=policy)  # type: ignore[arg-type]
    starts = []
    for pair in pairs:
        starts.append(journal.position.offset)
        journal.append([pair])
        journal.commit()
    os.close(journal._fd)
    file = tmp_path / form.segment_name(0, 0, 0)
    data = file.read_bytes()
    for n, start in enumerate(starts):
        changed = bytearray(data)
        changed[start + (75 if policy == "machine" else 40)] ^= 8
        file.write_bytes(changed)
        got, damage = read_until_damage(tmp_path, report := Report())
        assert got == pairs[:n]
        unsynced = policy == "machine" and n == 9
        assert bool(damage) is not unsynced
        assert len(report.torn) == unsynced
    file.write_bytes(data + bytes(700))
    report = Report()
    assert read(tmp_path, report=report) == pairs
    assert [(torn.offset, torn.lost_bytes) for torn in report.torn] == [(len(data), 700)]


def test_a_mark_vouches_only_for_what_was_appended_before_its_sync_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, run="r", shard=0, attempt=0, policy="machine")
    journal.append([answer(0)])
    ends = [journal.position.offset]
    real = os.fdatasync

    def append_meanwhile(descriptor: int) -> None:
        real(descriptor)
        journal.append([answer(1)])
        ends.append(journal.position.offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", append_meanwhile)
        journal.commit()
    journal.append([answer(2)])
    os.close(journal._fd)
    file = tmp_path / form.segment_name(0, 0, 0)
    data = file.read_bytes()
    assert data.count(form.MARK_MAGIC) == 1
    assert data.index(form.MARK_MAGIC) > ends[1]
    for n, torn in ((0, 0), (1, 1)):
        changed = bytearray(data)
        changed[ends[n] - 20] ^= 1
        file.write_bytes(changed)
        got, damage = read_until_damage(tmp_path, report := Report())
        assert got == [answer(0)][:n]
        assert (len(report.torn), bool(damage)) == (torn, not torn)


def test_a_file_torn_within_its_first_bytes_is_no_error(tmp_path: Path) -> None:
    write(tmp_path, [answer(0)])
    file = tmp_path / form.segment_name(0, 0, 0)
    whole = file.read_bytes()
    for cut in range(40):
        for tail in (b"", bytes(30)):
            file.write_bytes(whole[:cut] + tail if cut < 8 or not tail else whole[:8] + tail)
            report = Report()
            if cut in range(1, 8) and tail:
                with pytest.raises(JournalDamaged, match="begins with"):
                    read(tmp_path)
            else:
                assert read(tmp_path, report=report) == []
                assert len(report.torn) == 1


def make_journal(folder: Path) -> tuple[dict[tuple[int, int], list[Pair]], list[Position]]:
    """Two shards, three segments or more each, closed."""
    rng = random.Random(1)
    made, ends = {}, []
    for shard in range(2):
        pairs = [answer(n * 2 + shard, "x" * rng.randrange(120)) for n in range(30)]
        write(folder, pairs, 4, shard=shard, segment_bytes=2500, policy=("process", "machine")[shard])
        made[shard, 0] = pairs
    report = Report()
    read(folder, report=report)
    ends = list(report.ends.values())
    assert len(segments(folder)[0, 0]) >= 3
    return made, ends


def damage_once(folder: Path, rng: random.Random, ends: list[Position]) -> tuple[str, list[Pair]]:
    """Damage one file, read, and mend it: how the damage was noticed ('' when it was not), and what was read."""
    file = rng.choice(sorted(folder.iterdir()))
    data = file.read_bytes()
    while (changed := corrupt(rng, data)) == data:
        pass
    file.write_bytes(changed)
    report = Report()
    try:
        got, damage = read_until_damage(folder, report)
        if damage:
            assert f"{folder}/s" in damage
            assert "damaged at byte" in damage
            return "damaged", got
        if report.torn:
            assert report.torn[0].path == file
            return "torn", got
        if len(report.closed) < 2:
            with pytest.raises(JournalDamaged):
                read(folder, since=ends)
            return "not closed", got
        return "", got
    finally:
        file.write_bytes(data)


def test_a_thousand_damages_are_all_noticed_and_nothing_false_is_read(tmp_path: Path) -> None:
    made, ends = make_journal(tmp_path)
    rng = random.Random(2)
    counts: dict[str, int] = {}
    for _ in range(1000):
        how, got = damage_once(tmp_path, rng, ends)
        counts[how] = counts.get(how, 0) + 1
        for shard in range(2):
            mine = [pair for pair in got if pair[1].agent % 2 == shard]
            assert mine == made[shard, 0][: len(mine)]
    assert "" not in counts, counts
    assert counts["damaged"] > 700, counts
    assert read(tmp_path) == made[0, 0] + made[1, 0]


def test_without_the_checksum_damage_would_be_read_as_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "checksum", lambda data, chain=0: 0)
    made, ends = make_journal(tmp_path)
    rng = random.Random(2)
    true = made[0, 0] + made[1, 0]
    false = 0
    for _ in range(300):
        _, got = damage_once(tmp_path, rng, ends)
        false += any(pair not in true for pair in got)
    assert false > 50


def test_records_that_are_moved_repeated_or_left_out_are_damage(tmp_path: Path) -> None:
    journal = Journal(tmp_path, run="r", shard=0, attempt=0)
    offsets = [journal.position.offset]
    for n in range(4):
        journal.append([answer(n)])
        offsets.append(journal.position.offset)
    journal.close()
    file = tmp_path / form.segment_name(0, 0, 0)
    data = file.read_bytes()
    head, tail = data[: offsets[0]], data[offsets[4] :]
    frames = [data[a:b] for a, b in pairwise(offsets)]
    for order in ([0, 2, 1, 3], [0, 0, 1, 2, 3], [0, 1, 3], [1, 2, 3], [0, 1, 2, 3, 3]):
        file.write_bytes(head + b"".join(frames[n] for n in order) + tail)
        with pytest.raises(JournalDamaged, match="checksum"):
            read(tmp_path)
    file.write_bytes(data + b"more")
    with pytest.raises(JournalDamaged, match="after its end"):
        read(tmp_path)


def test_segments_that_are_missing_swapped_or_renamed_are_damage(tmp_path: Path) -> None:
    make_journal(tmp_path / "good")
    names = [form.segment_name(0, 0, n) for n in range(3)]
    for case in ("missing first", "missing middle", "swapped", "renamed", "from another journal"):
        folder = tmp_path / case
        shutil.copytree(tmp_path / "good", folder)
        if case == "missing first":
            (folder / names[0]).unlink()
        elif case == "missing middle":
            (folder / names[1]).unlink()
        elif case == "swapped":
            one, two = (folder / names[0]).read_bytes(), (folder / names[1]).read_bytes()
            (folder / names[0]).write_bytes(two)
            (folder / names[1]).write_bytes(one)
        elif case == "renamed":
            (folder / names[0]).rename(folder / form.segment_name(7, 0, 0))
        else:
            write(tmp_path / "other", [answer(n) for n in range(60)], segment_bytes=2500)
            shutil.copy(tmp_path / "other" / names[1], folder / names[1])
        with pytest.raises(JournalDamaged):
            read(folder)
    (tmp_path / "good" / "s1-a0-0.journal").touch()
    with pytest.raises(StorageError, match="Move it out"):
        read(tmp_path / "good")


def test_a_salvage_leaves_out_the_rest_of_a_damaged_segment_only(tmp_path: Path) -> None:
    made, _ = make_journal(tmp_path)
    file = tmp_path / form.segment_name(0, 0, 1)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)
    report = Report()
    got = read(tmp_path, salvage=True, report=report)
    assert [error.args[0].count(str(file)) for error in report.damaged] == [1]
    true = made[0, 0] + made[1, 0]
    left_out = [pair for pair in true if pair not in got]
    assert 0 < len(left_out) < 12
    assert got == [pair for pair in true if pair not in left_out]


def test_a_changed_segment_is_noticed_at_a_look_up(tmp_path: Path) -> None:
    write(tmp_path, [answer(n) for n in range(3)])
    file = tmp_path / form.segment_name(0, 0, 0)
    with JournalIndex(read_journal(tmp_path)) as index:
        data = bytearray(file.read_bytes())
        data[-40] ^= 1
        file.write_bytes(data)
        assert index.find(0, 0, 0) is not None
        with pytest.raises(JournalDamaged, match="Something else writes"):
            index.find(2, 0, 0)
