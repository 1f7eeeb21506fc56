from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from full_disk import file_size_limit, small_disk
from hypothesis import given, settings
from hypothesis import strategies as st

from populace.cluster import journal as form
from populace.cluster.journal import Journal, Position, next_attempt, segments
from populace.cluster.journal_index import JournalIndex
from populace.cluster.journal_read import Report, read_journal
from populace.core.errors import DiskFull, JournalDamaged, StorageError
from populace.core.records import Answer

Pair = tuple[bytes, Answer]


def answer(n: int, text: str = "yes", tick: int = 0) -> Pair:
    return n.to_bytes(16, "little"), Answer(n, tick, 0, "answered", text, calls=1, tokens_in=n, latency_s=n / 7)


def write(folder: Path, pairs: list[Pair], batch: int = 3, close: bool = True, **options: object) -> Position:
    fields = {"run": "r", "shard": 0, "attempt": 0, **options}
    journal = Journal(folder, **fields)  # type: ignore[arg-type]
    for at in range(0, len(pairs), batch):
        journal.append(pairs[at : at + batch])
        journal.commit()
    position = journal.position
    if close:
        journal.close()
    else:
        os.close(journal._fd)
    return position


def read(folder: Path, **options: object) -> list[Pair]:
    return [(r.key, r.answer) for r in read_journal(folder, **options)]  # type: ignore[arg-type]


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
            assert one in [other.answer for other in index.by_key(key)]
        assert index.find(12345, 2**41, 0) is None
        assert index.by_key(b"never a key here") == []
        in_order = sorted((a.tick, a.agent, a.nth) for _, a in pairs)
        walked = [r.answer for tick in index.ticks() for r in index.in_tick(tick)]
        assert [(a.tick, a.agent, a.nth) for a in walked] == in_order
    shutil.rmtree(folder)


def test_an_empty_or_missing_folder_holds_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == []
    assert next_attempt(tmp_path / "none") == 0
    with JournalIndex(read_journal(tmp_path)) as index:
        assert (len(index), index.ticks(), index.find(0, 0, 0), index.by_key(bytes(16))) == (0, [], None, [])


def test_answers_by_key_come_in_canonical_order_from_any_number_of_shards(tmp_path: Path) -> None:
    key = b"the same content"
    made = [(key, Answer(agent, tick, 0, "answered", f"{agent}.{tick}")) for agent in range(6) for tick in range(3)]
    orders = []
    for shards in (1, 2, 5):
        for shard in range(shards):
            mine = [pair for pair in made if pair[1].agent % shards == shard]
            random.Random(shards).shuffle(mine)
            write(tmp_path / str(shards), mine, shard=shard)
        with JournalIndex(read_journal(tmp_path / str(shards))) as index:
            orders.append([r.answer.text for r in index.by_key(key)])
    assert orders[0] == orders[1] == orders[2]
    assert orders[0] == [f"{agent}.{tick}" for tick in range(3) for agent in range(6)]


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


def corrupt(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    kind = rng.randrange(4)
    if kind <= 1:
        for _ in range(1 + 7 * kind):
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        at = rng.randrange(len(data))
        changed[at : at + rng.randrange(1, 64)] = rng.randbytes(rng.randrange(64))
    else:
        del changed[rng.randrange(len(data)) :]
    return bytes(changed)


def read_until_damage(folder: Path, report: Report) -> tuple[list[Pair], str]:
    got: list[Pair] = []
    try:
        got.extend((record.key, record.answer) for record in read_journal(folder, report=report))
    except JournalDamaged as error:
        return got, str(error)
    return got, ""


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


@pytest.mark.parametrize("segment_bytes", [10**9, 20_000])
def test_a_full_disk_keeps_what_was_written_and_goes_on_when_there_is_space(segment_bytes: int) -> None:
    with small_disk(256 * 1024) as disk:
        (disk / "ballast").write_bytes(bytes(100 * 1024))
        journal = Journal(disk / "j", run="r", shard=0, attempt=0, segment_bytes=segment_bytes)
        kept: list[Pair] = []

        def fill() -> None:
            while True:
                batch = [answer(len(kept) + n, "x" * 700) for n in range(5)]
                journal.append(batch)
                journal.commit()
                kept.extend(batch)

        with pytest.raises(DiskFull, match="free some space") as full:
            fill()
        assert full.value.exit_code == 7
        report = Report()
        assert read(disk / "j", report=report) == kept
        assert not report.torn
        with pytest.raises(DiskFull):
            journal.append([answer(9999, "x" * 5000)])
        (disk / "ballast").unlink()
        journal.append([answer(len(kept))])
        journal.close()
        assert read(disk / "j") == [*kept, answer(len(kept))]


def test_a_quota_on_the_files_size_is_a_full_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path, run="r", shard=0, attempt=0)
    journal.append([answer(1)])
    with file_size_limit(1000), pytest.raises(DiskFull):
        journal.append([answer(2, "x" * 2000)])
    journal.append([answer(3)])
    journal.close()
    assert read(tmp_path) == [answer(1), answer(3)]


def test_a_failed_sync_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, run="r", shard=0, attempt=0, policy="machine")
    journal.append([answer(1)])

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(StorageError, match="cannot be synced"):
            journal.commit()
    for again in (journal.commit, journal.sync, lambda: journal.append([answer(2)])):
        with pytest.raises(StorageError, match="cannot be synced"):
            again()
    journal.close()
    assert read(tmp_path) == [answer(1)]


def test_an_append_that_is_interrupted_half_way_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, run="r", shard=0, attempt=0)
    journal.append([answer(1)])
    real = os.write

    def interrupted(descriptor: int, data: memoryview) -> int:
        real(descriptor, data[:10])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.append([answer(2)])
    journal.append([answer(3)])
    journal.close()
    journal.close()
    assert read(tmp_path) == [answer(1), answer(3)]
    with pytest.raises(StorageError, match="closed"):
        journal.append([answer(4)])


WRITER = """
import os, sys
from pathlib import Path
from populace.cluster.journal import Journal
from populace.core.records import Answer

folder, policy, stop_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
syncs = 0
real = os.fdatasync

def stall(descriptor):
    global syncs
    syncs += 1
    if syncs == stop_at:
        print("stalled", flush=True)
        sys.stdin.read()
    real(descriptor)

os.fdatasync = stall
journal = Journal(folder, run="r", shard=0, attempt=0, policy=policy, segment_bytes=20_000)
for n in range(100_000):
    pairs = [(bytes(16), Answer(n, 0, nth, "answered", "x" * 90)) for nth in range(1 + n % 7)]
    journal.append(pairs)
    journal.commit()
    print(n, flush=True)
"""


@pytest.mark.parametrize(("policy", "stop_at"), [("process", 0), ("process", 3), ("machine", 5), ("machine", 60)])
def test_what_commit_returned_for_outlives_a_kill(tmp_path: Path, policy: str, stop_at: int) -> None:
    """Killed at a random place, while the end of a segment is synced, and between a write and its sync."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), policy, str(stop_at)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        done = -1
        for line in child.stdout:
            if line == "stalled\n" or (stop_at == 0 and done == 400):
                break
            done = int(line)
        child.kill()
        done = max([done, *(int(line) for line in child.stdout.read().split("\n")[:-1])])
    report = Report()
    got = [(a.agent, a.nth) for _, a in read(tmp_path, report=report)]
    wanted = [(n, nth) for n in range(done + 1) for nth in range(1 + n % 7)]
    assert len(wanted) > 5
    assert got[: len(wanted)] == wanted
    assert {n for n, _ in got[len(wanted) :]} <= {done + 1, done + 2}
    assert next_attempt(tmp_path) == 1


def lose_machine(file: Path, synced: int, rng: random.Random) -> bytes:
    """What a lost machine may leave of a file: all that was synced, and any mix of sectors of the rest, cut."""
    data = bytearray(file.read_bytes())
    for sector in range(synced // 512, len(data) // 512 + 1):
        start, stop = max(sector * 512, synced), min((sector + 1) * 512, len(data))
        fate = rng.randrange(3)
        if fate and start < stop:
            data[start:stop] = bytes(stop - start) if fate == 1 else rng.randbytes(stop - start)
    return bytes(data[: rng.randrange(synced, len(data) + 1)])


def run_and_lose(folder: Path, policy: str, rng: random.Random, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Append and commit, then lose the machine: how many answers were promised, how many are read (all true)."""
    synced: dict[int, int] = {}
    real = os.fdatasync

    def track(descriptor: int) -> None:
        real(descriptor)
        status = os.fstat(descriptor)
        synced[status.st_ino] = status.st_size

    pairs = [answer(n, "x" * rng.randrange(400)) for n in range(40)]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", track)
        journal = Journal(folder, run="r", shard=0, attempt=0, policy=policy, segment_bytes=6000)  # type: ignore[arg-type]
        promised = rng.randrange(36)
        for at in range(0, promised, 3):
            journal.append(pairs[at : at + 3])
            journal.commit()
        promised = journal.position.records
        journal.append(pairs[promised : promised + 4])
    os.close(journal._fd)
    for file in folder.iterdir():
        file.write_bytes(lose_machine(file, synced.get(file.stat().st_ino, 0), rng))
    got, damage = read_until_damage(folder, Report())
    assert not damage or policy == "process"
    assert got == pairs[: len(got)]
    return promised, len(got)


def test_under_policy_machine_what_commit_returned_for_outlives_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(3)
    for n in range(150):
        promised, got = run_and_lose(tmp_path / str(n), "machine", rng, monkeypatch)
        assert got >= promised


def test_under_policy_process_a_lost_machine_may_lose_answers_and_never_makes_some_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(3)
    outcomes = [run_and_lose(tmp_path / str(n), "process", rng, monkeypatch) for n in range(60)]
    assert any(got < promised for promised, got in outcomes)


def test_a_sync_in_another_thread_lets_appends_go_on(tmp_path: Path) -> None:
    pairs = [answer(n, "x" * 100) for n in range(600)]
    journal = Journal(tmp_path, run="r", shard=0, attempt=0, policy="machine", segment_bytes=5000)
    with ThreadPoolExecutor(1) as pool:
        commits = []
        for pair in pairs:
            journal.append([pair])
            commits.append(pool.submit(journal.commit))
        for commit in commits:
            commit.result()
    os.close(journal._fd)
    report = Report()
    assert read(tmp_path, report=report) == pairs
    assert not report.torn
