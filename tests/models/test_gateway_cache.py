"""The cache: keys by mode, several processes, kills, damage; a wrong answer never."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.agents.answers import compile_answer
from populace.core.errors import SettingsError
from populace.core.records import Ask
from populace.models.cache.answers import Cache, InFlight, Kept
from populace.models.cache.keys import Mode, cache_key, model_seed


def ask(agent: int = 1, tick: int = 2, nth: int = 0, key: bytes = b"k" * 16) -> Ask:
    return Ask(agent, tick, nth, "talk", (("user", "hi"),), compile_answer(str), 10, 0.8, key)


def key(n: int) -> bytes:
    return n.to_bytes(16, "big")


IDENTITIES = [(7, ask()), (8, ask()), (7, ask(agent=2)), (7, ask(tick=3)), (7, ask(nth=1)), (7, ask(key=b"x" * 16))]


def test_keys_and_seeds_by_mode() -> None:
    assert len({cache_key("own", *identity) for identity in IDENTITIES}) == 6
    assert len({cache_key("shared", *identity) for identity in IDENTITIES}) == 2
    assert {cache_key("off", *identity) for identity in IDENTITIES} == {None}
    for mode, different in (("own", 6), ("off", 6), ("shared", 2)):
        seeds = {model_seed(mode, *identity) for identity in IDENTITIES}  # type: ignore[arg-type]
        assert len(seeds) == different
        assert all(0 <= seed < 2**31 for seed in seeds)
    mode: Mode = "own"
    assert model_seed(mode, 7, ask(), repair=1) != model_seed(mode, 7, ask())
    with pytest.raises(ValueError, match="cache mode"):
        cache_key("sharde", 7, ask())  # type: ignore[arg-type]


def test_it_keeps_and_the_first_answer_stands(tmp_path: Path) -> None:
    with Cache(tmp_path / "deep" / "answers.db") as cache:
        answers = {key(n): Kept(f"answer {n} ü", n, 2 * n) for n in range(1200)}
        assert cache.put(answers) == answers
        assert cache.put({key(3): Kept("late"), key(5000): Kept("new")}) == {
            key(3): answers[key(3)],
            key(5000): Kept("new"),
        }
        assert cache.put({}) == {}
    with Cache(tmp_path / "deep" / "answers.db") as cache:
        assert cache.get(key(n) for n in range(1300)) == answers
        assert len(cache) == 1201
        assert cache.bad_rows == 0


def _write_many(path: Path, who: int, rounds: int) -> None:
    with Cache(path) as cache:
        for start in range(rounds):
            given = {key(start * 10 + n): Kept(f"{who}: {start * 10 + n}") for n in range(20)}
            standing = cache.put(given)
            assert cache.get(given) == standing


def test_several_processes_agree_on_every_answer(tmp_path: Path) -> None:
    path = tmp_path / "answers.db"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write_many, args=(path, who, 40)) for who in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    with Cache(path) as cache:
        kept = cache.get(key(n) for n in range(500))
        assert len(kept) == 410
        assert all(int(answer.text.split(": ")[1]) == int.from_bytes(k, "big") for k, answer in kept.items())


def _die_in_the_middle(path: Path) -> None:
    cache = Cache(path)
    cache.put({key(1): Kept("whole")})
    cache._db.execute("BEGIN IMMEDIATE")
    cache._db.execute("INSERT INTO answers VALUES (?, ?, ?)", (key(2), b"half", b"done"))
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_leaves_whole_batches_and_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "answers.db"
    worker = multiprocessing.get_context("spawn").Process(target=_die_in_the_middle, args=(path,))
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    with Cache(path, busy_s=5.0) as cache:
        assert cache.get([key(1), key(2)]) == {key(1): Kept("whole")}
        assert cache.put({key(2): Kept("again")}) == {key(2): Kept("again")}


@pytest.mark.parametrize("column", ["content", "check_", "key"])
def test_a_changed_row_is_a_miss_and_is_replaced(tmp_path: Path, column: str) -> None:
    path = tmp_path / "answers.db"
    with Cache(path) as cache:
        cache.put({key(1): Kept("yes"), key(2): Kept("no")})
    raw = sqlite3.connect(path)
    wrong = key(9) if column == "key" else b"\x93\xa5wrong\x00\x00"
    raw.execute(f"UPDATE answers SET {column} = ? WHERE key = ?", (wrong, key(1)))
    raw.commit()
    raw.close()
    with Cache(path) as cache:
        assert cache.get([key(1), key(2), key(9)]) == {key(2): Kept("no")}
        assert cache.bad_rows == 1
        assert cache.put({key(1): Kept("new")}) == {key(1): Kept("new")}
        assert cache.get([key(1)]) == {key(1): Kept("new")}


@pytest.mark.parametrize("start", [100, 4096, 8192])
def test_a_damaged_file_is_moved_aside_or_read_right(tmp_path: Path, start: int) -> None:
    path = tmp_path / "answers.db"
    answers = {key(n): Kept(f"answer {n}") for n in range(2000)}
    with Cache(path) as cache:
        cache.put(answers)
    data = bytearray(path.read_bytes())
    size = len(data)
    for at in range(start, size, 97):
        data[at] ^= 0x5A
    path.write_bytes(data)
    with Cache(path) as cache:
        found = cache.get(answers)
        assert all(answers[k] == kept for k, kept in found.items()), "never a wrong answer"
        assert len(found) < 2000
        assert cache.put(answers) == answers
        assert cache.get(answers) == answers
        for aside in cache.moved_aside:
            assert aside.stat().st_size == size
    if start < 4096:
        assert cache.moved_aside, "damaged beyond reading"


@pytest.mark.parametrize("kind", ["text", "foreign", "newer", "folder"])
def test_what_never_was_a_cache_is_an_error_and_stays(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thesis.db"
    if kind == "text":
        path.write_text("Chapter one. " * 1000)
    elif kind == "folder":
        path.mkdir()
    else:
        raw = sqlite3.connect(path)
        raw.execute("CREATE TABLE bookmarks (url)")
        if kind == "newer":
            raw.execute(f"PRAGMA application_id={0x706F7063}")
            raw.execute("PRAGMA user_version=2")
        raw.commit()
        raw.close()
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(SettingsError, match=r"thesis\.db") as caught:
        Cache(path)
    assert "path" in str(caught.value)
    assert (path.read_bytes() if path.is_file() else b"") == before


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["join", "settle", "leave"])), max_size=60))
def test_every_ask_in_flight_has_one_leader_and_is_settled_once(steps: list[tuple[int, str]]) -> None:
    flights: InFlight[int] = InFlight()
    waiting: dict[int, list[int]] = {}
    leaders: dict[int, int] = {}
    for member, (which, step) in enumerate(steps):
        members = waiting.setdefault(which, [])
        if step == "join":
            assert flights.join(key(which), member) == (not members)
            leaders.setdefault(which, member)
            members.append(member)
        elif step == "settle":
            assert list(flights.settle(key(which))) == members
            waiting[which] = []
            leaders.pop(which, None)
        elif members:
            gone = members.pop(len(steps) % len(members))
            heir = flights.leave(key(which), gone)
            led = leaders[which] == gone
            assert (heir is not None) == (led and bool(members))
            if led:
                leaders.pop(which)
                if heir is not None:
                    assert heir == members[0]
                    leaders[which] = heir
        assert len(flights) == sum(bool(members) for members in waiting.values())
